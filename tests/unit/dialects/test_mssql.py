"""What the SQL Server dialect decides without a server: positions, connection strings, errors, types."""

from __future__ import annotations

import types as python_types

import pyodbc
import pytest

from pantograph import dialects, errors
from pantograph.dialects.base import Address
from pantograph.dialects.mssql import bulk, capture, connections, types
from pantograph.dialects.mssql.connections import Driver
from pantograph.dialects.mssql.dialect import SQLServer
from pantograph.dialects.mssql.windows import Seen, between, binary
from pantograph.model.changes import NOWHERE, Capture, Position
from pantograph.model.mirrors import Mapped
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind, LogicalType, misfit

FREETDS, MICROSOFT = Driver("FreeTDS", False), Driver("/drivers/libmsodbcsql-18.so", True)


def address(**more):
    return Address("mssql", host="db", port=1433, database="shop", username="u", password="p", **more)


# -- positions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["80:", "80:81,85-90", "0:"])
def test_a_position_is_read_as_it_was_written(text):
    assert Seen.parse(text).text() == text


def test_nothing_has_been_seen_nowhere():
    assert Seen.parse(NOWHERE) == Seen(0)


def test_a_window_is_what_the_later_look_saw_and_the_earlier_did_not():
    since, until = Seen.parse("10:12-14,20"), Seen.parse("18:19-25,30")
    found = between(since, until)
    assert found == [(10, 11), (15, 17), (19, 19), (21, 25), (30, 30)]
    numbers = {n for low, high in found for n in range(low, high + 1)}
    assert numbers == {n for n in range(50) if until.holds(n) and not since.holds(n)}


def test_what_was_seen_above_the_bound_is_not_read_again_when_the_bound_passes_it():
    assert between(Seen.parse("10:12-14"), Seen.parse("13:13-14,16")) == [(10, 11), (16, 16)]


def test_windows_meet_without_a_gap_and_hold_no_event_twice():
    looks = [Seen.parse(text) for text in ("5:7", "6:7-8", "6:7-8,11", "12:")]
    seen: list[int] = []
    for since, until in zip([Seen(0), *looks], looks, strict=False):
        seen += [n for low, high in between(since, until) for n in range(low, high + 1)]
    assert sorted(seen) == list(range(12))


def test_a_position_too_long_for_a_checkpoint_has_seen_less_and_nothing_else():
    long = Seen(10, tuple((n, n) for n in range(12, 200_000, 2))).text()
    reader = SQLServer(address()).reader([])
    for brief in (False, True):
        stored = reader.stored(long, brief=brief)
        assert len(stored) <= (4 if brief else 256) * 1024
        assert not between(Seen.parse(long), Seen.parse(stored))


def test_a_position_covers_what_retention_took_only_when_it_has_read_all_of_it():
    reader, one = SQLServer(address()).reader([]), Capture("c", "dbo", "t", ("id",), ("id",), "e")
    assert reader.covers(Position("10:"), "", one)
    assert reader.covers(Position("10:"), "9", one)
    assert not reader.covers(Position("10:"), "10", one)
    assert reader.covers(Position("10:10-12"), "12", one)
    assert not reader.covers(NOWHERE, "1", one)


def test_a_transaction_that_is_open_has_the_same_mark_in_every_position():
    reader = SQLServer(address()).reader([])
    assert reader.waits_for(Position("10:12")) == reader.waits_for(Position("10:12-14")) == {"10"}
    assert reader.waits_for(Position("15:")) == frozenset()


def test_a_rowversion_is_eight_bytes():
    assert binary(2001) == "0x00000000000007D1"
    assert binary(2**63 - 1) == "0x7FFFFFFFFFFFFFFF"


# -- connections -------------------------------------------------------------------------------------------------------


def test_a_missing_driver_is_one_line_that_says_what_to_do():
    with pytest.raises(errors.PantographError, match=r"tdsodbc.*spec\.options\.driver") as caught:
        connections.driver_of({}, [], exists=lambda path: False)
    assert caught.value.reason == "DriverMissing"
    with pytest.raises(errors.PantographError, match="not on this machine"):
        connections.driver_of({"driver": "/drivers/libmsodbcsql-18.so"}, [], exists=lambda path: False)


def test_a_missing_library_is_one_line(monkeypatch):
    def fails(name):
        raise ImportError("libodbc.so.2: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", fails)
    with pytest.raises(errors.PantographError, match=r"driver for mssql cannot be loaded \(libodbc") as caught:
        dialects.load(address())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "microsoft"),
    [("FreeTDS", False), ("/x/libtdsodbc.so", False), ("/x/libmsodbcsql-18.6.so.2.1", True),
     ("ODBC Driver 18 for SQL Server", True)],
)  # fmt: skip
def test_the_two_drivers_are_told_apart_by_their_names(given, microsoft):
    found = connections.driver_of({"driver": given}, [given], exists=lambda path: True)
    assert found == Driver(given, microsoft)


def test_another_driver_is_refused_by_name():
    with pytest.raises(errors.SpecError, match="'libsqlite3odbc'") as caught:
        connections.driver_of({"driver": "libsqlite3odbc"}, ["libsqlite3odbc"])
    assert caught.value.path == "spec.options.driver"


def test_freetds_is_found_where_debian_puts_it():
    assert connections.driver_of({}, ["FreeTDS"]) == FREETDS
    assert connections.driver_of({}, [], exists=lambda path: "x86_64" in path).name.endswith("libtdsodbc.so")


@pytest.mark.parametrize("mode", ["", "require"])
def test_freetds_is_never_left_to_be_silently_unencrypted(mode):
    text = connections.connection_string(address(tls_mode=mode), FREETDS)
    assert "Encryption=require;" in text
    assert "Encrypt=" not in text


def test_a_connection_is_unencrypted_only_where_somebody_said_so():
    assert "Encryption=off;" in connections.connection_string(address(tls_mode="disable"), FREETDS)
    assert "Encrypt=no;" in connections.connection_string(address(tls_mode="disable"), MICROSOFT)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("", "Encrypt=yes;TrustServerCertificate=no;"), ("verify-full", "Encrypt=yes;TrustServerCertificate=no;"),
     ("require", "Encrypt=yes;TrustServerCertificate=yes;")],
)  # fmt: skip
def test_microsofts_driver_is_told_how_far_to_trust(mode, words):
    text = connections.connection_string(address(tls_mode=mode), MICROSOFT)
    assert words in text
    assert "SERVER=db,1433;" in text


def test_freetds_verifies_by_a_section_that_names_the_authorities():
    name, section = connections.freetds_section(address(tls_mode="verify-full", tls_ca="/ca.pem"))
    assert "ca file = /ca.pem" in section
    assert "check certificate hostname = yes" in section
    assert "encryption = require" in section
    text = connections.connection_string(address(tls_mode="verify-full"), FREETDS, name)
    assert f"SERVERNAME={name};" in text
    assert "SERVER=" not in text
    assert "hostname = no" in connections.freetds_section(address(tls_mode="verify-ca"))[1]
    assert "ca file = system" in connections.freetds_section(address(tls_mode="verify-full"))[1]


@pytest.mark.parametrize(
    ("given", "driver", "path"),
    [({"options": {"trace": "1"}}, FREETDS, "spec.options.trace"),
     ({"options": {"packetSize": "8000"}}, FREETDS, "spec.options.packetSize"),
     ({"tls_cert": "/c"}, FREETDS, "spec.tls.clientSecretName"),
     ({"tls_mode": "verify-full", "tls_ca": "/ca"}, MICROSOFT, "spec.tls.caSecretName"),
     ({"tls_mode": "verify-ca"}, MICROSOFT, "spec.tls.mode")],
)  # fmt: skip
def test_what_a_driver_cannot_do_is_refused_by_its_field(given, driver, path):
    with pytest.raises(errors.SpecError) as caught:
        connections.connection_string(address(**given), driver)
    assert caught.value.path == path


def test_a_password_cannot_say_anything_but_itself():
    sly = Address("mssql", host="db", database="d", username="u", password="x;Encrypt=no;{ }")
    assert "PWD={x;Encrypt=no;{ }}};" in connections.connection_string(sly, MICROSOFT)
    with pytest.raises(errors.SpecError, match="FreeTDS cannot be told"):
        connections.connection_string(sly, FREETDS)


# -- errors ------------------------------------------------------------------------------------------------------------


def said(state, text):
    return connections.translate(pyodbc.Error(state, text))


def test_a_statement_says_its_cause_and_no_value():
    text = (
        "[23000] [FreeTDS][SQL Server]Violation of PRIMARY KEY constraint 'pk_orders'. Cannot insert duplicate key in "
        "object 'dbo.orders'. The duplicate key value is (secret). (2627) (SQLExecDirectW)"
    )
    found = said("23000", text)
    assert isinstance(found, errors.Rejected)
    assert (found.kind, found.constraint, found.table, found.code) == ("unique", "pk_orders", "dbo.orders", "2627")
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [(547, 'The INSERT statement conflicted with the FOREIGN KEY constraint "fk_x". The conflict', "foreign key"),
     (547, 'The DELETE statement conflicted with the REFERENCE constraint "fk_x". The conflict', "foreign key"),
     (547, 'The INSERT statement conflicted with the CHECK constraint "ck_x". The conflict', "check"),
     (515, "Cannot insert the value NULL into column 'qty', table 'shop.dbo.t'", "not null"),
     (2628, "String or binary data would be truncated in table 'shop.dbo.t', column 'name'. Value: 'x'", "length"),
     (8115, "Arithmetic overflow error converting numeric to data type numeric.", "type"),
     (2601, "Cannot insert duplicate key row in object 'dbo.t' with unique index 'ux'. The value is (1)", "unique")],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_its_kind(number, text, kind):
    found = said("23000", f"[23000] [x][SQL Server]{text} ({number}) (SQLExecDirectW)")
    assert isinstance(found, errors.Rejected)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("state", "text", "kind", "reason"),
    [("40001", "deadlocked (1205) (SQLExecDirectW)", errors.Contended, "Contended"),
     ("42000", "Lock request time out (1222) (SQLExecDirectW)", errors.Contended, "Contended"),
     ("42000", "Snapshot isolation transaction aborted (3960) (SQLExecDirectW)", errors.Contended, "Contended"),
     ("42S02", "Invalid object name 'dbo.t'. (208) (SQLExecDirectW)", errors.DatabaseError, "Missing"),
     ("42000", "The SELECT permission was denied (229) (SQLExecDirectW)", errors.Refused, "Refused"),
     ("28000", "Login failed for user 'u'. (18456) (SQLDriverConnect)", errors.Refused, "Refused"),
     ("42000", "the database is read-only. (3906) (SQLExecDirectW)", errors.Refused, "ReadOnly"),
     ("08S01", "Communication link failure (0) (SQLExecDirectW)", errors.Unreachable, "Unreachable"),
     ("HYT00", "Login timeout expired (0) (SQLDriverConnect)", errors.Unreachable, "Unreachable"),
     ("HYT00", "Query timeout expired (0) (SQLExecDirectW)", errors.DatabaseError, "TimedOut"),
     ("01000", "Can't open lib 'x' : file not found (0) (SQLDriverConnect)", errors.DatabaseError, "DriverMissing"),
     ("42000", "Incorrect syntax near 'x'. (102) (SQLExecDirectW)", errors.DatabaseError, "Syntax"),
     ("42000", "something new (99999) (SQLExecDirectW)", errors.DatabaseError, "DatabaseError")],
)  # fmt: skip
def test_errors_are_told_by_the_servers_number(state, text, kind, reason):
    found = said(state, f"[{state}] [x][SQL Server]{text}")
    assert type(found) is kind
    assert found.reason == reason


def test_what_is_not_the_drivers_is_left_alone():
    assert connections.translate(KeyError("x")) is None
    assert isinstance(connections.translate(ConnectionRefusedError()), errors.Unreachable)


def test_a_moment_with_an_offset_is_read_in_utc():
    import struct

    raw = struct.pack("<6hI2h", 2024, 1, 1, 0, 30, 5, 120_000_000, 5, 30)
    assert connections.offset_as_utc(raw) == "2023-12-31 19:00:05.12"


# -- types -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "native"),
    [(("varchar", 20, 0, 0, "X"), "varchar(20) collate X"), (("nvarchar", 40, 0, 0, "X"), "nvarchar(20) collate X"),
     (("nvarchar", -1, 0, 0, "X"), "nvarchar(max) collate X"), (("varbinary", -1, 0, 0, ""), "varbinary(max)"),
     (("numeric", 9, 12, 2, ""), "decimal(12,2)"), (("datetime2", 8, 27, 7, ""), "datetime2(7)"),
     (("timestamp", 8, 0, 0, ""), "rowversion"), (("int", 4, 10, 0, ""), "int"),
     (("text", 16, 0, 0, "X"), "text collate X")],
)  # fmt: skip
def test_a_row_of_the_catalog_is_a_native_type(row, native):
    assert types.from_catalog(*row) == native


@pytest.mark.parametrize(
    "native",
    ["bit", "tinyint", "smallint", "int", "bigint", "decimal(38,10)", "real", "float", "varbinary(20)",
     "varbinary(max)", "nvarchar(max)", "date", "time(7)", "datetime2(7)", "datetimeoffset(3)", "uniqueidentifier"],
)  # fmt: skip
def test_a_native_type_made_of_the_logical_one_holds_all_of_it(native):
    type_ = types.logical(native)
    assert misfit(type_, types.logical(types.native(type_))) is None


@pytest.mark.parametrize(
    ("type_", "native"),
    [(LogicalType(Kind.INTEGER, bits=8), "smallint"), (LogicalType(Kind.INTEGER, bits=8, unsigned=True), "tinyint"),
     (LogicalType(Kind.INTEGER, bits=32, unsigned=True), "bigint"),
     (LogicalType(Kind.INTEGER, bits=64, unsigned=True), "decimal(20,0)"),
     (LogicalType(Kind.TEXT, length=20), "nvarchar(40)"), (LogicalType(Kind.TEXT), "nvarchar(max)"),
     (LogicalType(Kind.TIMESTAMP, fraction=6, zoned=True), "datetimeoffset(6)")],
)  # fmt: skip
def test_a_logical_type_has_the_narrowest_native_one(type_, native):
    assert types.native(type_) == native


@pytest.mark.parametrize(
    "type_",
    [LogicalType(Kind.DECIMAL), LogicalType(Kind.DECIMAL, precision=39, scale=2), LogicalType(Kind.INTERVAL),
     LogicalType(Kind.OTHER, native="sql_variant"), LogicalType(Kind.OTHER, native="point")],
)  # fmt: skip
def test_what_no_type_holds_is_refused(type_):
    with pytest.raises(errors.SpecError):
        types.native(type_)


def test_a_key_of_text_is_compared_exactly_and_has_room_in_an_index():
    assert types.native(LogicalType(Kind.TEXT, length=100), key=True) == f"nvarchar(200) collate {types.EXACT}"
    with pytest.raises(errors.SpecError, match="cannot be indexed"):
        types.native(LogicalType(Kind.TEXT, length=300), key=True)


@pytest.mark.parametrize(
    ("native", "folding"),
    [("varchar(9) collate Latin1_General_CI_AS", True), (f"nvarchar(9) collate {types.EXACT}", False),
     ("char(9) collate Latin1_General_BIN", False)],
)  # fmt: skip
def test_a_collation_says_whether_texts_are_taken_for_equal(native, folding):
    assert types.logical(native).folding is folding


def test_moments_that_an_old_type_would_round_are_refused():
    encode = types.encode(types.logical("datetime"))
    assert encode("2020-01-01 00:00:00.003") == "2020-01-01 00:00:00.003"
    assert encode("2020-01-01 00:00:00") == "2020-01-01 00:00:00"
    for fine in ("2020-01-01 00:00:00.004", "2020-01-01 00:00:00.0031"):
        with pytest.raises(errors.Rejected):
            encode(fine)
    minutes = types.encode(types.logical("smalldatetime"))
    assert minutes("2020-01-01 10:20:00")
    with pytest.raises(errors.Rejected):
        minutes("2020-01-01 10:20:01")


FITS = [
    ("tinyint", 0), ("tinyint", 255), ("smallint", -32768), ("int", 2**31 - 1), ("bigint", -(2**63)),
    ("decimal(5,2)", "-999.99"), ("decimal(38,10)", "9999999999999999999999999999.9999999999"),
    ("decimal(5,2)", "1.004"), ("money", "-922337203685477.5808"), ("real", 3.4028235e38), ("bit", 1),
    ("float", 5e-324),
    ("nvarchar(4)", "🦉🦉"), ("nvarchar(max)", "x" * 9000), ("varchar(3) collate Latin1_General_CI_AS", "Ä€ß"),
    ("varbinary(2)", b"\0\1"), ("varbinary(max)", b"x" * 9000), ("date", "0001-01-01"), ("date", "9999-12-31"),
    ("time(7)", "23:59:59.9999999"), ("datetime2(7)", "0001-01-01 00:00:00"), ("datetime", "1753-01-01 00:00:00"),
    ("datetimeoffset(3)", "2024-02-29 12:00:00.123"), ("smalldatetime", "2079-06-06 23:59:00"),
    ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
]  # fmt: skip
FITS_NOT = [
    ("tinyint", -1), ("tinyint", 256), ("smallint", 32768), ("int", -(2**31) - 1), ("bigint", 2**63),
    ("decimal(5,2)", "1000"), ("decimal(5,2)", "999.995"), ("decimal(5,2)", "NaN"), ("money", "922337203685477.5809"),
    ("real", 1e39), ("float", float("nan")), ("float", float("-inf")), ("bit", 2),
    ("nvarchar(3)", "🦉🦉"), ("nvarchar(3)", "abcd"), ("nchar(3)", "abcd"),
    ("varchar(3) collate Latin1_General_CI_AS", "abcd"), ("varchar(3) collate Latin1_General_CI_AS", "☂"),
    ("char(3) collate Latin1_General_CI_AS", "Д"), ("varbinary(2)", b"\0\1\2"), ("binary(2)", b"\0\1\2"),
    ("date", "0000-00-00"), ("date", "2023-02-29"), ("date", "10000-01-01"), ("date", "infinity"),
    ("date", "0044-03-15 BC"), ("time(7)", "24:00:00"), ("time(7)", "-00:00:01"), ("time(7)", "838:59:59"),
    ("datetime2(7)", "10000-01-01 00:00:00"), ("datetime2(7)", "2024-02-29 24:00:00"), ("datetime2(7)", "infinity"),
    ("datetime", "1752-12-31 00:00:00"), ("smalldatetime", "1899-12-31 00:00:00"), ("uniqueidentifier", "none"),
]  # fmt: skip


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize(("native", "value"), FITS)
def test_a_value_that_has_a_place_is_taken(native, value, json):
    (types.as_json if json else types.as_parameter)(types.logical(native), "cp1252")(value)


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize(("native", "value"), FITS_NOT)
def test_a_value_that_has_no_place_is_rejected_before_the_server_changes_it_or_ends_the_transaction(
    native, value, json
):
    with pytest.raises(errors.Rejected):
        (types.as_json if json else types.as_parameter)(types.logical(native), "cp1252")(value)


class Asking:
    """A session of which only code pages are asked. pages: by collation."""

    def __init__(self, **pages):
        self.pages, self.asked = pages, []
        self.raw = python_types.SimpleNamespace(known={}, json=False)

    def row(self, sql, *, collation):
        assert sql == types.CODE_PAGE
        self.asked.append(collation)
        return (self.pages.get(collation),)

    def direct(self, sql, params=None):
        return 0


def column(name, native):
    type_ = types.logical(native)
    return Mapped(name, f'"{name}"', type_, native, type_, native)


def test_what_is_refused_is_refused_by_its_columns_name():
    session = Asking(cyrillic=1251)
    mapped = [column("a", "int"), column("b", "varchar(9) collate cyrillic")]
    bulk._fill(session, "t", ["a", "b"], mapped, [(1, "Д"), (2, None)])
    with pytest.raises(errors.Rejected, match="column b"):
        bulk._fill(session, "t", ["a", "b"], mapped, [(1, "Д"), (2, "ß")])
    # Asked for once.
    assert session.asked == ["cyrillic"]


def test_of_a_code_page_that_is_not_known_ascii_is_taken():
    session = Asking()
    assert bulk.encoding(session, "varchar(9) collate odd") == "ascii"
    assert bulk.encoding(session, "nvarchar(9) collate odd") == "utf-8"


def test_a_text_is_made_in_its_own_code_page_and_not_in_that_of_the_database():
    assert types.typed("?", "varchar(9) collate X") == "cast(cast(? as nvarchar(4000)) collate X as varchar(9))"
    assert types.typed("?", "varchar(8000) collate X") == "cast(cast(? as nvarchar(max)) collate X as varchar(8000))"
    assert types.typed("?", "varchar(max) collate X") == "cast(cast(? as nvarchar(max)) collate X as varchar(max))"
    assert types.typed("?", "nvarchar(9) collate X") == "cast(? as nvarchar(9)) collate X"


@pytest.mark.parametrize(
    ("native", "asked"),
    [("time(0)", "varchar(8)"), ("time(6)", "varchar(15)"), ("datetime2(7)", "varchar(27)"), ("date", "varchar(10)"),
     ("datetime2(0)", "varchar(19)"), ("datetime", "varchar(23)")],
)  # fmt: skip
def test_a_moment_is_read_with_the_digits_that_its_type_keeps(native, asked):
    assert asked in types.selected("x", native)


def test_values_go_as_json_without_losing_a_digit():
    rows = [[1, "it's \"\\\n\0 é 💡", types.as_json(LogicalType(Kind.DECIMAL))("12345678901234567890.50")]]
    (document,) = bulk._documents(rows)
    import json

    assert json.loads(document) == rows
    assert types.as_json(LogicalType(Kind.BYTES))(b"\0\xff") == "00ff"
    assert float(types.as_json(LogicalType(Kind.FLOAT))(0.1 + 0.2)) == 0.1 + 0.2


def test_a_document_ends_before_it_grows_too_large():
    found = list(bulk._documents([[n] for n in range(12_000)]))
    assert len(found) == 3


def test_a_statement_never_has_more_parameters_than_the_server_takes():
    for columns in (1, 8, 42, 1000):
        assert bulk.rows_of_values(columns) * columns <= bulk.PARAMETERS
    assert bulk.rows_of_values(3000) == 1


def test_a_type_that_cannot_be_read_is_refused_before_anything_is_copied():
    with pytest.raises(errors.SpecError, match="sql_variant"):
        types.selected("x", "sql_variant")


# -- capture -----------------------------------------------------------------------------------------------------------


def rendering(columns=("id",), native="int"):
    listed = tuple(Column(name, types.logical(native), native) for name in columns)
    shape = TableShape("dbo", "orders", listed, (columns[0],))
    one = Capture("c", "dbo", "orders", (columns[0],), tuple(columns), "events_x")
    return capture.Rendering(one, "pantograph", SQLServer(address()).ours, "dbo"), shape


def test_no_table_that_the_trigger_writes_has_an_identity():
    made, shape = rendering()
    assert not any("identity" in statement.sql for statement in made.create(shape))


def test_the_trigger_keeps_texts_apart_that_the_table_takes_for_equal():
    made, shape = rendering(native="varchar(10) collate Latin1_General_CI_AS")
    assert "as varbinary(8000))" in made.definition(shape)
    assert "distinct" not in made.definition(shape)
    assert "union" not in made.definition(shape)


def test_the_trigger_notes_the_old_key_where_an_update_touches_it_and_where_rows_go():
    made, shape = rendering()
    text = made.definition(shape)
    assert 'if update("id") or not exists (select 1 from inserted) insert into' in text
    assert [f"from {rows}" in text for rows in ("inserted", "deleted")] == [True, True]


def test_the_trigger_looks_at_the_lease_without_a_lock_and_at_no_count_of_rows():
    made, shape = rendering()
    assert "with (readuncommitted)" in made.definition(shape)
    assert "rowcount_big" not in made.definition(shape)


def test_a_trigger_that_another_version_made_is_told_from_one_that_somebody_changed():
    made, shape = rendering()
    text = made.definition(shape)
    from pantograph.dialects import marks

    older = marks.marked(marks._MARK.sub("", text).replace("set rowcount 0; ", ""), made.facts, after="as begin ")
    assert made._made_by_another(older, shape)
    assert not made._made_by_another(text, shape)
    assert not made._made_by_another(text.replace("set rowcount 0; ", ""), shape)
    assert list(made._problems(shape, (0, text.replace("inserted", "x"), "orders", "dbo"), {"k0"}))
    assert not list(made._problems(shape, (0, text.upper().lower(), "orders", "dbo"), {"k0"}))
    assert list(made._problems(shape, (1, text, "orders", "dbo"), {"k0"})) == ["the trigger is disabled"]


def test_plan_names_the_statements_that_fail_on_a_captured_table():
    spots = " ".join(SQLServer(address()).blind_spots(rendering()[1]))
    for words in ("error 334", "OUTPUT without INTO", "HasTrigger", "implicit_returning=False", "TRUNCATE", "bcp"):
        assert words in spots
    assert all(len(spot) <= 1024 for spot in capture.BLIND_SPOTS)
    assert "error 334" in SQLServer.features.capture_cost


def test_a_source_without_snapshots_says_that_it_is_no_image():
    dialect = SQLServer(address())
    session = python_types.SimpleNamespace(raw=python_types.SimpleNamespace(snapshot=False))
    assert "allow_snapshot_isolation" in dialect.no_image(session)
    session.raw.snapshot, session.raw.partial = True, False
    assert dialect.no_image(session) == ""
