"""Connections through pyodbc, by FreeTDS or by Microsoft's driver: how they are opened and set up, what errors mean.

Traps of the two, all met: FreeTDS takes `Encrypt=yes` for nothing and stays unencrypted, and it looks at a server's
certificate only where a freetds.conf names the authorities. Microsoft's driver waits for its whole login timeout where
nobody listens.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyodbc

from pantograph import errors
from pantograph.dialects.base import REFUSALS, Address, Role

# Pools of the driver manager's would hand out sessions that others have set up.
pyodbc.pooling = False

_FREETDS_FILES = (
    "/usr/lib/x86_64-linux-gnu/odbc/libtdsodbc.so",
    "/usr/lib/aarch64-linux-gnu/odbc/libtdsodbc.so",
    "/usr/lib64/libtdsodbc.so.0",
)
OPTIONS = {
    "driver": "",
    "packetSize": "Packet Size",
    "hostNameInCertificate": "HostNameInCertificate",
    "multiSubnetFailover": "MultiSubnetFailover",
}
"""What `spec.options` may say, and the word that Microsoft's driver has for it."""
_ONLY_MICROSOFT = ("packetSize", "hostNameInCertificate", "multiSubnetFailover")

# Whatever the server's and the login's defaults are.
SETTINGS = (
    "set quoted_identifier on; set ansi_nulls on; set ansi_padding on; set ansi_warnings on; set arithabort on; "
    "set concat_null_yields_null on; set numeric_roundabort off; set xact_abort off; set implicit_transactions off; "
    "set language us_english; set dateformat ymd; set datefirst 7; set textsize 2147483647; set nocount off; "
    "set transaction isolation level read committed"
)
_LOCK_TIMEOUT = {Role.READER: 10_000, Role.SIDE: 10_000, Role.WRITER: 20_000, Role.ADMIN: 100}
"""Milliseconds."""
_STATEMENT_LIMIT = {Role.READER: 60, Role.SIDE: 60, Role.WRITER: 600, Role.ADMIN: 60}
"""Seconds."""
SNAPSHOT_ALLOWED = (
    "select convert(int, snapshot_isolation_state), convert(int, compatibility_level) "
    "from sys.databases where database_id = db_id()"
)
_OPENJSON = 130
"""The compatibility level from which on a database knows OPENJSON."""


@dataclass(frozen=True, slots=True)
class Driver:
    """An ODBC driver. name: as the driver manager is told, a name that it knows or a path."""

    name: str
    microsoft: bool


class Connection:
    """A connection of pyodbc's in autocommit, where transactions are begun and ended by statements.

    snapshot: the database lets a transaction see one moment. json: it knows OPENJSON, and reads texts back as they
    were. known: what was found out of the destination's tables and collations, by name. partial: the window that was
    opened last ends below what its snapshot sees.
    """

    def __init__(self, raw: Any, role: Role) -> None:
        self.raw, self.role = raw, role
        self.snapshot = self.json = self.partial = False
        self.known: dict[str, Any] = {}

    def cursor(self) -> Cursor:
        return Cursor(self.raw.cursor())

    def close(self) -> None:
        self.raw.close()


class Cursor:
    """A cursor that takes the words in which sessions end a transaction for what T-SQL calls them."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def rowcount(self) -> int:
        return int(self.raw.rowcount)

    @property
    def description(self) -> Any:
        return self.raw.description

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        sql = _CONTROL.get(sql, sql)
        self.raw.execute(sql, tuple(params)) if params else self.raw.execute(sql)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self.raw.executemany(sql, rows)

    def fetchall(self) -> list[Any]:
        return [tuple(row) for row in self.raw.fetchall()]

    def fetchone(self) -> Any:
        return self.raw.fetchone()

    def fetchmany(self, size: int) -> list[Any]:
        return [tuple(row) for row in self.raw.fetchmany(size)]

    def close(self) -> None:
        self.raw.close()


ROLL_BACK = "if @@trancount > 0 rollback transaction"
# A COMMIT where nothing is open would be an error.
_CONTROL = {"commit": "if @@trancount > 0 commit transaction", "rollback": ROLL_BACK}


# -- opening -----------------------------------------------------------------------------------------------------------


def driver_of(options: Mapping[str, str], known: Sequence[str], exists: Any = os.path.exists) -> Driver:
    """Which driver to use. known: names that the driver manager has.

    Raises `SpecError` for a driver that is neither of the two, `PantographError` where it is not installed.
    """
    given = options.get("driver", "")
    if not given:
        if "FreeTDS" in known:
            return Driver("FreeTDS", False)
        path = next((path for path in _FREETDS_FILES if exists(path)), "")
        if not path:
            raise errors.PantographError(
                "no ODBC driver for SQL Server here: install FreeTDS (Debian: tdsodbc), or name the path of "
                "Microsoft's in spec.options.driver",
                reason="DriverMissing",
            )
        return Driver(path, False)
    word = os.path.basename(given).lower()
    microsoft = "msodbcsql" in word or re.fullmatch(r"odbc driver \d+ for sql server", word) is not None
    if not microsoft and "tdsodbc" not in word and word != "freetds":
        raise errors.SpecError(
            f"found {given!r}, expected FreeTDS, the path of libtdsodbc.so or of Microsoft's libmsodbcsql, or "
            "'ODBC Driver 18 for SQL Server'",
            path="spec.options.driver",
        )
    there = exists(given) if os.path.sep in given else given in known
    if not there:
        raise errors.PantographError(
            f"the ODBC driver {given!r} of spec.options.driver is not on this machine", reason="DriverMissing"
        )
    return Driver(given, microsoft)


def connection_string(address: Address, driver: Driver, section: str = "") -> str:
    """What the driver is told. section: of the freetds.conf that says the rest.

    Raises `SpecError` for what the driver cannot do; nothing is ever less encrypted than it was asked to be.
    """
    for name in address.options:
        if name not in OPTIONS:
            raise errors.SpecError(
                f"unknown option; expected one of: {', '.join(sorted(OPTIONS))}", path=f"spec.options.{name}"
            )
        if name in _ONLY_MICROSOFT and not driver.microsoft:
            raise errors.SpecError("only Microsoft's driver takes it", path=f"spec.options.{name}")
    if address.tls_cert:
        raise errors.SpecError("SQL Server asks for no certificate of a client", path="spec.tls.clientSecretName")
    parts = {"DRIVER": driver.name}
    host, port = address.host or "127.0.0.1", address.port or 1433
    if driver.microsoft:
        parts["SERVER"] = f"{host},{port}"
        parts |= _microsoft_tls(address)
        parts |= {OPTIONS[name]: value for name, value in address.options.items() if OPTIONS[name]}
    elif section:
        parts["SERVERNAME"] = section
    else:
        parts |= {"SERVER": host, "PORT": str(port), "TDS_Version": "7.4"}
        # Unencrypted only where a person said so: left alone, it would be, without a word.
        parts["Encryption"] = "off" if address.tls_mode == "disable" else "require"
    parts |= {"DATABASE": address.database, "UID": address.username, "PWD": address.password, "APP": "pantograph"}
    return "".join(f"{word}={_value(value, driver, word)};" for word, value in parts.items())


def _microsoft_tls(address: Address) -> dict[str, str]:
    if address.tls_ca:
        raise errors.SpecError(
            "Microsoft's driver takes authorities from the system alone, or from the file that the process's "
            "environment names in SSL_CERT_FILE: set that (spec.reflector.env), and leave caSecretName out",
            path="spec.tls.caSecretName",
        )
    match address.tls_mode:
        case "disable":
            return {"Encrypt": "no"}
        case "require":
            return {"Encrypt": "yes", "TrustServerCertificate": "yes"}
        case "verify-ca":
            raise errors.SpecError(
                "Microsoft's driver looks at the name as well: verify-full, and options.hostNameInCertificate where "
                "the certificate has another",
                path="spec.tls.mode",
            )
    return {"Encrypt": "yes", "TrustServerCertificate": "no"}


def _value(value: str, driver: Driver, word: str) -> str:
    """A value of a connection string, in braces where it has characters that mean something there."""
    if "\0" in value:
        raise errors.SpecError(f"the value of {word} has a character of the number 0", path="spec.credentials")
    if re.fullmatch(r"[\w./,\\:+-]*", value):
        return value
    if "}" in value and not driver.microsoft:
        raise errors.SpecError(
            f"the value of {word} has a '}}' in it, which FreeTDS cannot be told; choose another, or use Microsoft's "
            "driver",
            path="spec.credentials",
        )
    return "{" + value.replace("}", "}}") + "}"


_conf_lock = threading.Lock()
_sections: dict[str, str] = {}


def freetds_section(address: Address) -> tuple[str, str]:
    """Name and text of the section of a freetds.conf by which the server's certificate is verified."""
    host, port = address.host or "127.0.0.1", address.port or 1433
    lines = [
        f"host = {host}",
        f"port = {port}",
        "tds version = 7.4",
        "encryption = require",
        f"ca file = {address.tls_ca or 'system'}",
        f"check certificate hostname = {'yes' if address.tls_mode == 'verify-full' else 'no'}",
        "client charset = UTF-8",
    ]
    body = "\n".join(f"\t{line}" for line in lines)
    name = f"pantograph-{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    return name, f"[{name}]\n{body}\n"


def _verified(address: Address) -> str:
    """A section for this address in the process's own freetds.conf, which FreeTDS finds by the environment."""
    name, text = freetds_section(address)
    with _conf_lock:
        _sections[name] = text
        folder = os.environ.get("PANTOGRAPH_FREETDS") or tempfile.mkdtemp(prefix="pantograph-")
        os.environ["PANTOGRAPH_FREETDS"] = folder
        path = os.path.join(folder, "freetds.conf")
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write("\n".join(_sections.values()))
        os.replace(f"{path}.new", path)
        os.environ["FREETDSCONF"] = path
    return name


def connect(address: Address, role: Role, timeout: float) -> Connection:
    """A connection that is set up for its role: see `SETTINGS`."""
    driver = driver_of(address.options, pyodbc.drivers())
    verifies = address.tls_mode in ("verify-ca", "verify-full") and not driver.microsoft
    text = connection_string(address, driver, _verified(address) if verifies else "")
    if "\\" not in address.host:
        socket.create_connection((address.host or "127.0.0.1", address.port or 1433), timeout).close()
    raw = pyodbc.connect(text, autocommit=True, timeout=max(2, round(timeout)))
    try:
        connection = Connection(raw, role)
        _set_up(connection)
    except BaseException:
        with contextlib.suppress(pyodbc.Error):
            raw.close()
        raise
    return connection


DATETIMEOFFSET = -155


def _set_up(connection: Connection) -> None:
    raw, role = connection.raw, connection.role
    raw.add_output_converter(DATETIMEOFFSET, offset_as_utc)
    cursor = raw.cursor()
    cursor.execute(f"{SETTINGS}; set lock_timeout {_LOCK_TIMEOUT[role]}")
    cursor.execute(SNAPSHOT_ALLOWED)
    state, level = cursor.fetchone() or (0, 0)
    connection.snapshot = state == 1
    connection.json = level >= _OPENJSON and _unescapes(cursor)
    if role is Role.READER and connection.snapshot:
        cursor.execute("set transaction isolation level snapshot")
    cursor.close()
    raw.timeout = _STATEMENT_LIMIT[role]


def _unescapes(cursor: Any) -> bool:
    """Does OPENJSON read a text back as it was? Of what speaks the same protocol, not everything does."""
    try:
        cursor.execute("""select v from openjson(N'[["\\"\\\\\\n"]]') with (v nvarchar(max) '$[0]')""")
        row = cursor.fetchone()
    except pyodbc.Error:
        return False
    return row is not None and row[0] == '"\\\n'


def offset_as_utc(value: bytes) -> str:
    """A datetimeoffset as the drivers hand it out (SQL_SS_TIMESTAMPOFFSET_STRUCT), as text in UTC."""
    import datetime
    import struct

    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", value)
    local = datetime.datetime(year, month, day, hour, minute, second)
    moment = local - datetime.timedelta(hours=hours, minutes=minutes)
    fraction = f"{nanoseconds // 100:07}".rstrip("0")
    return moment.isoformat(" ") + (f".{fraction}" if fraction else "")


# -- errors ------------------------------------------------------------------------------------------------------------

_CONTENDED = {
    1205: "a deadlock was resolved against us",
    1222: "a lock was not free in time",
    3960: "a transaction at the same time changed the row",
    3961: "the table was altered while it was read",
    3952: "the database no longer allows snapshots",
    3957: "the database was changing its snapshot isolation",
    3951: "the database was changing its snapshot isolation",
    1204: "the server has no locks left",
    601: "rows moved while they were read",
}
_REJECTED = {
    2601: "unique", 2627: "unique", 1505: "unique",
    515: "not null", 339: "not null",
    8152: "length", 2628: "length", 1946: "length", 511: "length",
    220: "type", 232: "type", 241: "type", 242: "type", 244: "type", 245: "type", 248: "type", 295: "type",
    296: "type", 517: "type", 535: "type", 8114: "type", 8115: "type", 8169: "type", 9420: "type", 9803: "type",
    6522: "type", 1007: "type", 168: "type",
    334: "other", 544: "other", 8102: "other", 271: "other", 273: "other",
}  # fmt: skip
_TEXTS = {**REFUSALS, "other": "the table refuses it"}
_REFUSED = {
    229: "a grant is missing", 230: "a grant is missing", 262: "a grant is missing", 297: "a grant is missing",
    300: "a grant is missing", 1088: "a grant is missing, or the object is not there", 2760: "the schema is not there, "
    "or a grant on it is missing", 15247: "a grant is missing", 15151: "a grant is missing, or the object is not there",
    4060: "the database cannot be opened", 18456: "user name or password is wrong", 18452: "the login is not trusted",
    18486: "the account is locked", 18487: "the password has expired", 18488: "the password must be changed",
    916: "the login has no user in the database", 3906: "the database is read only", 3908: "the database is read only",
    978: "the database is a replica that takes only read-intent connections",
    976: "the database is a replica that takes no connections",
}  # fmt: skip
_UNREACHABLE = {
    921, 922, 924, 927, 942, 945, 952, 983, 6005, 17142, 17809, 17892, 18461, 40197, 40501, 40613, 49918, 49919, 49920,
    10928, 10929, 10053, 10054, 10060, 64, 233, 121, 20002, 20003, 20004, 20006, 20009, 20017, 20047,
}  # fmt: skip
_MISSING = {208: "table", 207: "column", 3701: "object", 4902: "table", 2812: "procedure", 1911: "column"}
_SYNTAX = {102, 105, 156, 170, 319, 103, 195, 4104, 4145, 448, 8120}

_NUMBER = re.compile(r"\((\d+)\) \(SQL\w+\)")
_CONSTRAINT = re.compile(r"constraint ['\"]([^'\"\n]+)['\"]", re.IGNORECASE)
_OBJECT = re.compile(r"(?:object|table) ['\"]([^'\"\n]+)['\"]", re.IGNORECASE)
_COLUMN = re.compile(r"column (?:name )?['\"]([^'\"\n]+)['\"]", re.IGNORECASE)
_INDEX = re.compile(r"unique index ['\"]([^'\"\n]+)['\"]", re.IGNORECASE)
_NAME = re.compile(r"(?:object|column) name ['\"]([^'\"\n]+)['\"]", re.IGNORECASE)


def translate(error: BaseException) -> errors.DatabaseError | None:
    """A driver's error as one of ours. The server's own text is dropped: it quotes values."""
    if isinstance(error, OSError):
        return errors.Unreachable(f"the connection failed ({type(error).__name__})")
    if isinstance(error, UnicodeEncodeError):
        return errors.Rejected("a text has characters that UTF-16 cannot hold", kind="type")
    if not isinstance(error, pyodbc.Error):
        return None
    state = str(error.args[0]) if error.args else ""
    said = str(error.args[1]) if len(error.args) > 1 else ""
    return as_error(state, said)


def as_error(state: str, said: str) -> errors.DatabaseError:
    """By the server's number, of which the first is the cause; by the driver's SQLSTATE where there is none."""
    for number in (int(each) for each in _NUMBER.findall(said)):
        ours = _by_number(number, said)
        if ours is not None:
            return ours
    if state == "HYT00" and "login" not in said.lower():
        return errors.DatabaseError("a statement took longer than its time limit", code=state, reason="TimedOut")
    if state in ("HYT00", "HYT01") or state[:2] == "08":
        return errors.Unreachable(
            f"the server cannot be reached, or the connection broke (SQLSTATE {state})", code=state
        )
    if state == "28000":
        return errors.Refused(f"user name or password is wrong (SQLSTATE {state})", code=state)
    if state == "40001":
        return errors.Contended(f"{_CONTENDED[1205]} (SQLSTATE {state})", code=state)
    if state == "01000" and "open lib" in said:
        return errors.DatabaseError("the ODBC driver cannot be loaded", code=state, reason="DriverMissing")
    numbers = _NUMBER.findall(said)
    code = numbers[0] if numbers else state
    return errors.DatabaseError(f"the server answered error {code}", code=code)


def _by_number(number: int, said: str) -> errors.DatabaseError | None:
    code = str(number)
    if number == 547:
        # One number for both.
        return _rejected("check" if "CHECK" in said else "foreign key", code, said)
    if number in _REJECTED:
        return _rejected(_REJECTED[number], code, said)
    if number in _CONTENDED:
        return errors.Contended(f"{_CONTENDED[number]} (error {code})", code=code)
    if number in _REFUSED:
        reason = "ReadOnly" if number in (3906, 3908, 978, 976) else None
        return errors.Refused(f"{_REFUSED[number]} (error {code})", code=code, reason=reason)
    if number in _UNREACHABLE:
        return errors.Unreachable(
            f"the server or the database cannot be reached, or went away (error {code})", code=code
        )
    if number in _MISSING:
        found = _NAME.search(said) or _COLUMN.search(said) or _OBJECT.search(said)
        name = f"{_MISSING[number]} {found[1]}" if found else f"a {_MISSING[number]}"
        return errors.DatabaseError(f"{name} is not there (error {code})", code=code, reason="Missing")
    if number in _SYNTAX:
        return errors.DatabaseError(f"the SQL is not the server's (error {code})", code=code, reason="Syntax")
    return None


def _rejected(kind: str, code: str, said: str) -> errors.Rejected:
    constraint = table = ""
    says = _TEXTS[kind]
    found = _CONSTRAINT.search(said) or _INDEX.search(said)
    if found:
        constraint = found[1]
        says += f": {constraint}"
    elif column := _COLUMN.search(said):
        says += f": column {column[1]}"
    if named := _OBJECT.search(said):
        table = named[1]
    return errors.Rejected(f"{says} (error {code})", kind=kind, code=code, constraint=constraint, table=table)
