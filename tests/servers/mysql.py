"""MySQL, as Debian's unstable packages it: the stable releases have none."""

from __future__ import annotations

import pathlib

from tests.servers import debian, processes
from tests.servers.base import MARK
from tests.servers.mariadb import MariaDB, MariaDBDatabase, arguments

_TAKEN = debian.Release(
    "mysql",
    ("mysql-server-core",),
    programs=("usr/sbin/mysqld",),
    files=("usr/share/mysql/english", "usr/share/mysql/charsets", "usr/lib/mysql/plugin"),
)


def _files() -> dict[str, str]:
    share = _TAKEN.path("usr/share/mysql")
    return {
        "basedir": str(_TAKEN.path("usr")),
        "lc-messages-dir": str(share),
        "character-sets-dir": str(share / "charsets"),
        "plugin-dir": str(_TAKEN.path("usr/lib/mysql/plugin")),
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
        return [str(_TAKEN.path("usr/sbin/mysqld")), "--no-defaults"]

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
