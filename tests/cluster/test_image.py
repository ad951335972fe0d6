"""What the image holds, seen from inside a pod under the restrictions of its own."""

import json

import pytest

import pantograph
from tests.cluster import images

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def namespace(cluster):
    with cluster.namespace() as name:
        yield name


def python(code):
    return {"command": ["python", "-W", "error", "-c", code]}


def test_the_image_runs_the_command_as_a_user_with_a_name_and_a_root_that_is_read_only(cluster, namespace):
    assert cluster.run(namespace, "--version") == (0, f"pantograph {pantograph.__version__}\n")
    code = """if True:
        import getpass, json, os, pathlib
        try:
            pathlib.Path("/usr/x").touch()
        except OSError as error:
            refused = error.strerror
        pathlib.Path("/tmp/x").touch()
        print(json.dumps([os.getuid(), os.getgid(), getpass.getuser(), refused]))
    """
    status, printed = cluster.run(namespace, **python(code))
    assert status == 0, printed
    assert json.loads(printed) == [10001, 10001, "pantograph", "Read-only file system"]


def test_every_dialect_finds_its_driver_and_the_library_that_it_loads(cluster, namespace):
    code = """if True:
        import ctypes, importlib, pkgutil
        import pantograph.dialects as dialects
        for each in pkgutil.iter_modules(dialects.__path__):
            importlib.import_module(f"pantograph.dialects.{each.name}")
        import sqlite3, psycopg2, pymysql, fdb
        fdb.load_api()
        ctypes.CDLL("libodbc.so.2")
        print(*sorted(each.name for each in pkgutil.iter_modules(dialects.__path__) if each.ispkg))
    """
    status, printed = cluster.run(namespace, **python(code))
    assert status == 0, printed
    assert {"firebird", "mysql", "postgresql", "sqlite"} <= set(printed.split())


def test_what_the_operator_needs_of_the_kubernetes_client_is_there(cluster, namespace):
    code = """if True:
        from kubernetes import client
        from kubernetes.leaderelection.resourcelock import leaselock
        leaselock.LeaseLock("a", "b", "c")
        print(client.V1Lease.__name__)
    """
    assert cluster.run(namespace, **python(code)) == (0, "V1Lease\n")


def test_there_is_no_compiler_in_the_image(cluster, namespace):
    code = "import shutil; print([name for name in ('cc', 'gcc', 'g++', 'clang', 'go') if shutil.which(name)])"
    assert cluster.run(namespace, **python(code)) == (0, "[]\n")


def test_the_image_is_under_300_megabytes(cluster):
    if cluster.node is None:
        pytest.skip("the cluster is not ours, and its image was made elsewhere")
    _, archive = images.ours()
    assert archive.stat().st_size < 300e6
