"""Connections through PyMySQL: set up for their role, and the server's error numbers in our words."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import pymysql
import pymysql.constants
import pymysql.converters
import pymysql.cursors

from pantograph import errors
from pantograph.dialects.base import REFUSALS, Address, Role

SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
"""Ours, whatever the server's default. Zero dates are let in: they are the application's, and triggers inherit this."""

_ISOLATION = {Role.READER: "repeatable read"}
# How long one statement may take, in seconds. A reader's counts until its last row has been fetched.
_STATEMENT = {Role.SIDE: 30, Role.READER: 300, Role.WRITER: 600, Role.ADMIN: 600}
_ROW_LOCK = {Role.SIDE: 2, Role.READER: 2, Role.WRITER: 20, Role.ADMIN: 1}
_MEMORY = 64 * 1024 * 1024

_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "unix_socket": str,
    "bind_address": str,
    "connect_timeout": float,
    "read_timeout": float,
    "write_timeout": float,
    "server_public_key_path": str,
    "charset": str,
}

_FIELD = pymysql.constants.FIELD_TYPE
# Decimals and times come as the text that the server sends: that is their canonical form, and costs nothing.
_AS_TEXT = (
    _FIELD.DECIMAL, _FIELD.NEWDECIMAL, _FIELD.DATE, _FIELD.NEWDATE, _FIELD.DATETIME, _FIELD.TIMESTAMP, _FIELD.TIME,
)  # fmt: skip
_CONVERTERS = {key: value for key, value in pymysql.converters.conversions.items() if key not in _AS_TEXT}


def connect(
    address: Address,
    role: Role,
    timeout: float,
    sql_mode: str,
    settings: str,
    ddl_wait: int,
    cursor: type[pymysql.cursors.Cursor],
) -> Any:
    """A connection in autocommit.

    sql_mode: beside the modes of both engines. settings: more of the session's variables, `{seconds}` in it a
    statement's time limit. ddl_wait: the least time that DDL can be made to wait for a lock, in seconds.
    cursor: a writer's.
    """
    unknown = sorted(set(address.options) - set(_OPTIONS))
    if unknown:
        raise errors.SpecError(
            f"unknown option {unknown[0]!r}, expected one of: {', '.join(sorted(_OPTIONS))}", path="spec.options"
        )
    arguments: dict[str, Any] = {
        "host": address.host or "127.0.0.1",
        "port": address.port or 3306,
        "user": address.username,
        "password": address.password,
        "database": address.database or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "local_infile": role is Role.WRITER,
        "connect_timeout": timeout,
        # A server that is gone without a word: the statement's own limit comes first where it is there.
        "read_timeout": _STATEMENT[role] + 30,
        "write_timeout": _STATEMENT[role] + 30,
        "conv": _CONVERTERS,
        "cursorclass": cursor if role is Role.WRITER else pymysql.cursors.Cursor,
        "program_name": f"pantograph-{role.value}",
        **_tls(address),
        **{name: _OPTIONS[name](value) for name, value in address.options.items()},
    }
    try:
        raw: Any = pymysql.connect(**arguments)
    except pymysql.err.OperationalError as error:
        if error.args[0] != NO_DATABASE:
            raise
        # Of a table in a statement the same number says only that it is not there.
        raise errors.Refused("there is no such database (error 1049)", code=str(NO_DATABASE)) from error
    try:
        with raw.cursor() as first:
            isolation = _ISOLATION.get(role, "read committed")
            # DDL waits for nobody: CREATE TRIGGER locks the parents of its table too, and of two that wait for each
            # other the server kills the one that writes rows, the application's.
            table_lock = ddl_wait if role is Role.ADMIN else 20
            first.execute(f"set session transaction isolation level {isolation}")
            first.execute(
                f"set session sql_mode = '{SQL_MODE}{sql_mode}', time_zone = '+00:00', "
                f"innodb_lock_wait_timeout = {_ROW_LOCK[role]}, lock_wait_timeout = {table_lock}, "
                # An UPDATE that joins keeps what it is going to write in a table that should not go to the disk.
                f"group_concat_max_len = 1048576, tmp_table_size = {_MEMORY}, max_heap_table_size = {_MEMORY}, "
                f"sql_auto_is_null = 0, sql_quote_show_create = 1, {settings.format(seconds=_STATEMENT[role])}"
            )
    except BaseException:
        raw.close()
        raise
    return raw


def text(value: str) -> str:
    """A text as SQL, for statements that take no parameters."""
    return "'" + str(pymysql.converters.escape_string(value)) + "'"


def _tls(address: Address) -> dict[str, Any]:
    mode = address.tls_mode
    if mode == "disable":
        return {"ssl_disabled": True}
    if not mode:
        return {}
    if mode not in ("require", "verify-ca", "verify-full"):
        raise errors.SpecError(
            f"found {mode!r}, expected disable, require, verify-ca or verify-full", path="spec.tls.mode"
        )
    if mode == "require":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif address.tls_ca.startswith("-----"):
        context = ssl.create_default_context(cadata=address.tls_ca)
    else:
        context = ssl.create_default_context(cafile=address.tls_ca or None)
    context.check_hostname = mode == "verify-full"
    if address.tls_cert:
        _load_client_certificate(context, address.tls_cert, address.tls_key)
    return {"ssl": context}


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Paths or PEM texts; the ssl module takes files only, so texts go through one that is gone at once."""
    if not certificate.startswith("-----"):
        context.load_cert_chain(certificate, key or None)
        return
    descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


# What a number means, by the reaction it asks for. https://mariadb.com/kb/en/mariadb-error-codes/
_UNREACHABLE = {1040, 1053, 1077, 1078, 1079, 1080, 1152, 1153, 1156, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927,
                2002, 2003, 2005, 2006, 2013, 2026, 2055}  # fmt: skip
_CONTENDED = {
    1205: "a row or table stayed locked",
    1213: "a deadlock was resolved against this transaction",
    1020: "a row was changed by another transaction",
    1099: "the table is locked",
    1412: "the table was rebuilt since the snapshot began",
    1969: "the statement took longer than its limit",
    3024: "the statement took longer than its limit",
    1317: "the statement was interrupted",
    1615: "the statement has to be prepared again",
}
_REFUSED = {
    1044: "access to the database is denied",
    # MariaDB says so too to who comes unencrypted where only others are let in, and both to an account of REQUIRE SSL.
    1045: "user name or password is wrong, or they are taken only from a connection that is encrypted: spec.tls",
    1129: "the server has blocked this host after too many failed connections",
    1130: "the server lets this host in for no user",
    1142: "a privilege on a table is missing",
    1143: "a privilege on a column is missing",
    1227: "a global privilege is missing",
    1290: "the server runs with an option that forbids this (read_only, secure_file_priv or local_infile)",
    1370: "a privilege on a routine is missing",
    1396: "a user cannot be changed",
    1419: "the binary log is on and the server lets only SUPER make triggers: set log_bin_trust_function_creators = 1",
    1698: "this user may not log in with a password",
    1792: "the transaction is read only",
    1820: "the password has expired",
    1836: "the server is read only",
    1862: "the password has expired",
    3118: "the account is locked",
    3159: "the server lets in only a connection that is encrypted: spec.tls",
    4163: "the account is locked",
    4151: "the account is locked",
}
_REJECTED = {
    1022: "unique", 1062: "unique", 1169: "unique", 1586: "unique",
    1216: "foreign key", 1217: "foreign key", 1451: "foreign key", 1452: "foreign key", 1761: "foreign key",
    1048: "not null", 1263: "not null", 1364: "not null",
    3819: "check", 4025: "check",
    1406: "length", 1118: "length", 1301: "length",
    1264: "type", 1265: "type", 1292: "type", 1366: "type", 1367: "type", 1411: "type", 1416: "type", 1690: "type",
    3140: "type", 1300: "type", 1977: "type", 1105: "other",
}  # fmt: skip
_TEXTS = {**REFUSALS, "other": "the server refuses it"}
NO_DATABASE = 1049
_MISSING = {NO_DATABASE, 1051, 1054, 1072, 1091, 1146, 1305, 1360, 4091}

# Only names are taken out of the server's texts: all else in them may be a value.
_KEY = re.compile(r" for key '(?:[^']*\.)?([^'.]+)'$")
_CONSTRAINT = re.compile(r"CONSTRAINT `((?:[^`]|``)*)`")
_FOREIGN = re.compile(r"fails \((?:`(?:[^`]|``)*`\.)?`((?:[^`]|``)*)`, CONSTRAINT ")
_COLUMN = re.compile(
    r"(?:[Cc]olumn|Field) (?:`[^`]*`\.)*[`'](?:[^`'.]+\.)?([^`']{1,64})[`']"
    r"(?: at row \d+| cannot be null| doesn't have .*|\.)$"
)


def translate(error: BaseException) -> errors.DatabaseError | None:
    """A driver's error as one of ours. The server's own text is dropped: it quotes values."""
    if not isinstance(error, pymysql.err.MySQLError):
        if isinstance(error, ssl.SSLError | TimeoutError | ConnectionError):
            return errors.Unreachable(f"the connection failed ({type(error).__name__})")
        return None
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number == 0 and isinstance(error, pymysql.err.InterfaceError | pymysql.err.OperationalError):
        return errors.Unreachable(f"the connection broke ({type(error).__name__})")
    return as_error(number, str(error.args[1]) if len(error.args) > 1 else "")


def as_error(number: int, text: str) -> errors.DatabaseError:
    """The server's error of that number; of its text only names are used."""
    code = str(number)
    if number in _REJECTED:
        return _rejected(number, text)
    if number in _CONTENDED:
        return errors.Contended(f"{_CONTENDED[number]} (error {code})", code=code)
    if number in _REFUSED:
        return errors.Refused(f"{_REFUSED[number]} (error {code})", code=code)
    if number in _UNREACHABLE:
        return errors.Unreachable(f"the server cannot be reached, or went away (error {code})", code=code)
    if number == 1064:
        return errors.DatabaseError("the SQL is not the server's (error 1064)", code=code, reason="Syntax")
    if number in _MISSING:
        return errors.DatabaseError(
            f"a table, column or trigger is not there (error {code})", code=code, reason="Missing"
        )
    return errors.DatabaseError(f"the server answered error {code}", code=code)


def _rejected(number: int, text: str) -> errors.Rejected:
    kind, code = _REJECTED[number], str(number)
    constraint = table = ""
    says = _TEXTS[kind]
    if kind == "unique" and (found := _KEY.search(text)):
        constraint = found[1]
        says += f": {constraint}"
    elif kind in ("foreign key", "check") and (found := _CONSTRAINT.search(text)):
        constraint = found[1].replace("``", "`").rsplit(".", 1)[-1]
        says += f": {constraint}"
        if owner := _FOREIGN.search(text):
            table = owner[1].replace("``", "`")
    elif found := _COLUMN.search(text):
        says += f": column {found[1]}"
    return errors.Rejected(f"{says} (error {code})", kind=kind, code=code, constraint=constraint, table=table)
