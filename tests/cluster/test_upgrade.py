"""Another version of operator, reflector and triggers, while somebody writes: there and back, and nothing is lost."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.mirrors import Load, Mirror, Watch
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night

WORDS = "-- of another version"
DEPLOYMENT = ("deployment/pantograph", "--namespace", "pantograph")


@pytest.fixture
def another(operator: Cluster, tmp_path: pathlib.Path) -> Iterator[str]:
    """The image of a version with another number, and other words in its triggers."""
    if operator.node is None:
        pytest.skip("the cluster is not ours, and has no image of another version")
    for name in images.CONTEXT:
        there = images.ROOT / name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copytree(there, tmp_path / name) if there.is_dir() else shutil.copy(there, tmp_path / name)
    change(tmp_path / "operator/pantograph/__init__.py", '__version__ = "', '__version__ = "0.0.')
    change(
        tmp_path / "operator/pantograph/dialects/postgresql/capture.py", "  return null;", f"  {WORDS}\n  return null;"
    )
    name, archive = images.of(tmp_path)
    operator.node.add_image(archive)
    yield name
    run(operator, operator.image)


def change(file: pathlib.Path, before: str, after: str) -> None:
    """Other words in a file."""
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def run(cluster: Cluster, image: str) -> None:
    """Have the operator be of an image, and the reflectors too."""
    cluster.kubectl("set", "image", *DEPLOYMENT, f"operator={image}")
    cluster.kubectl("set", "env", *DEPLOYMENT, f"PANTOGRAPH_REFLECTOR_IMAGE={image}")
    cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=120s", timeout=150)


def upgraded(mirror: Mirror, image: str) -> bool:
    """Whether a reflector of the image runs, and nothing else does."""
    pods = mirror.cluster.objects("pods", mirror.namespace, "pantograph.dev/database=shop")
    states = [pod["status"].get("containerStatuses", [{}])[0] for pod in pods]
    return [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] and bool(states[0].get("ready"))


def other_words(mirror: Mirror) -> bool:
    """Whether the triggers are of the other version."""
    texts = mirror.source.execute("select prosrc from pg_proc where proname like 'note%'", "superuser")
    assert texts
    (told,) = {WORDS in text for (text,) in texts}
    return told


def test_another_version_comes_and_goes_under_load(
    operator: Cluster, another: str, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]
) -> None:
    mirror = mirrors(pg_db(), pg_db())
    mirror.apply()
    copied = mirror.condition("reflection", "orders", "SnapshotComplete")
    assert not other_words(mirror)
    with Load(mirror.source) as load, Watch(mirror, load) as watch:
        for image, words in ((another, True), (operator.image, False)):
            run(operator, image)
            wait_until(lambda image=image: upgraded(mirror, image), "a reflector of the other version", 90)
            wait_until(lambda words=words: other_words(mirror) is words, "triggers of the other version", 90)
            mirror.ready()
            mirror.follows()
    wait_until(mirror.equal, "both tables to be equal")
    print(f"\n{watch.told()}; {load.transactions} transactions, {load.cut_off} times cut off")
    assert watch.lies == []
    assert load.cut_off == 0
    # Nothing was copied again.
    assert mirror.condition("reflection", "orders", "SnapshotComplete") == copied
