"""MySQL, as Debian's unstable packages it: the stable releases have none.

Its files are taken out of a system that debootstrap makes, and run with the libraries of that system, so that nothing
of this one is touched. They are kept in the cache; what is there is not fetched again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from tests.servers import debian, processes
from tests.servers.base import MARK
from tests.servers.mariadb import MariaDB, MariaDBDatabase, arguments

SUITE = "sid"
PACKAGES = ("ca-certificates", "mysql-server-core")


class Unavailable(Exception):
    """There is no MySQL here, and it cannot be had; says why."""


@functools.cache
def installation() -> pathlib.Path:
    """A folder with the server and all that it needs, where its account may read; fetched when it is not in the cache,
    which takes a minute."""
    files = processes.run_folder() / "mysql-files"  # root's cache is closed to others
    processes.run(["cp", "-a", "--reflink=auto", str(_kept()), str(files)], None)
    return files


def _kept() -> pathlib.Path:
    key = hashlib.sha256("\0".join([SUITE, *PACKAGES, inspect.getsource(_fetch)]).encode()).hexdigest()[:16]
    kept = processes.CACHE / "servers" / f"mysql-files-{key}"
    if not kept.exists() and (os.geteuid() != 0 or not shutil.which("debootstrap")):
        raise Unavailable("no MySQL server here: fetching Debian's takes root and debootstrap")
    with processes.made_once(kept) as part:
        if part is not None:
            try:
                _fetch(part)
            except RuntimeError as error:  # unstable may be in the middle of a transition
                raise Unavailable(f"no MySQL server here: Debian's {SUITE} does not give it: {error}") from error
    return kept


def _fetch(folder: pathlib.Path) -> None:
    """Only the server, its messages and the libraries that it loads: a fifth of what the system takes."""
    with tempfile.TemporaryDirectory(prefix="pantograph-mysql-") as made:
        root = pathlib.Path(made) / "root"
        include = f"--include={','.join(PACKAGES)}"
        processes.run(["debootstrap", "--variant=minbase", include, SUITE, str(root), *debian.mirror()], None)
        listed = subprocess.run(
            ["chroot", str(root), "ldd", "/usr/sbin/mysqld"], capture_output=True, text=True, check=True
        )
        libraries = folder / "lib"
        libraries.mkdir(parents=True)
        for path in re.findall(r"(/\S+) \(0x", listed.stdout):
            shutil.copy(root / path.lstrip("/"), libraries)
        shutil.copy(root / "usr/sbin/mysqld", folder)
        for part in ("english", "charsets"):
            shutil.copytree(root / "usr/share/mysql" / part, folder / "share" / part)
        shutil.copytree(root / "usr/lib/mysql/plugin", folder / "plugin")


def _files() -> dict[str, str]:
    root = installation()
    return {
        "basedir": str(root),
        "lc-messages-dir": str(root / "share"),
        "character-sets-dir": str(root / "share" / "charsets"),
        "plugin-dir": str(root / "plugin"),
    }


MADE_WITH = ("lower-case-table-names",)
"""Settings that hold for as long as a data folder does."""


class MySQLDatabase(MariaDBDatabase):
    """A database; here that is the same as a schema. Our own objects are in another, `pantograph_` and its name."""

    dialect = page = "mysql"


class MySQL(MariaDB):
    """A MySQL server; `options` are its settings, as in {"log-bin": "binlog"}."""

    kind = "mysql"

    def _template_key(self) -> str:
        return "-".join([super()._template_key(), *(f"{n}-{self.options[n]}" for n in MADE_WITH if n in self.options)])

    @classmethod
    def _server(cls) -> list[str]:
        """The program, by the loader of its own system."""
        root = installation()
        (loader,) = (root / "lib").glob("ld-*.so.*")
        return [str(loader), "--library-path", str(root / "lib"), str(root / "mysqld"), "--no-defaults"]

    def _initialise(self, data: pathlib.Path) -> None:
        statements = data.with_name("mark.sql")
        statements.write_text(
            f"create database {MARK};\n"
            f"alter user root@localhost identified by '{self.password}';\n"
            # From whatever address it listens on.
            "rename user root@localhost to root@'%';\n"
        )
        statements.chmod(0o644)
        settings = {"datadir": str(data), "init-file": str(statements), "tmpdir": str(data.parent), **_files()}
        # A third of what it makes by default, and time is what matters here.
        settings |= {"innodb-redo-log-capacity": "33554432", "innodb-flush-method": "nosync"}
        settings |= {name: self.options[name] for name in MADE_WITH if name in self.options}
        processes.run([*self._server(), "--initialize-insecure", "--skip-log-bin", *arguments(settings)], self.user)

    def _settings(self) -> dict[str, str]:
        return {
            **super()._settings(),
            **_files(),
            "secure-file-priv": "",
            "mysqlx": "off",
            "innodb-redo-log-capacity": "33554432",
            # Off, which is the default since 9.6, a cascade over three levels leaves children behind (9.7).
            "loose-innodb-native-foreign-keys": "on",
        }

    def _command(self) -> list[str]:
        command = super()._command()
        return command if "log-bin" in self.options else [*command, "--skip-log-bin"]

    def make_database(self, name: str) -> MySQLDatabase:
        """A fresh database of this name, with its roles."""
        self.refuse_unless_disposable()
        return MySQLDatabase(self, name)
