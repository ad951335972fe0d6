"""Every T-SQL text that we can make is accepted by Microsoft's own grammar, of the oldest version that we support.

A recorder stands in for a session: whatever the dialect and the pipeline would send is parsed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import subprocess
import sysconfig
import types as python_types

import pytest

from pantograph import errors
from pantograph.apply import execute, observe
from pantograph.dialects import base, parameters
from pantograph.dialects.base import Address, Role
from pantograph.dialects.mssql import bulk, capture, connections, inspection, types, windows
from pantograph.dialects.mssql.dialect import SQLServer
from pantograph.model.changes import Capture, Position, Window
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind, LogicalType
from pantograph.pipeline import cascades, checkpoints, deadletters, fence, keys, sharing, sides, statements

MAXDOP = pathlib.Path(sysconfig.get_path("scripts")) / "maxdop"
QUOTED_IDENTIFIERS = pathlib.Path(__file__).with_name("maxdop.json")
ODD = 'say "hello" [its] 100% of :it; ?'


def complaint(sql, version="2016"):
    """What the grammar has against a text; "" for nothing. A parameter of ODBC is a variable to it."""
    plain = re.sub(r"\?(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", "@p", sql)
    call = [MAXDOP, "--config", QUOTED_IDENTIFIERS, "--parser-version", version]
    done = subprocess.run(call, input=plain, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{done.stderr.strip()}\n{sql}"


class Recorder:
    """A session that sends nothing. rows_for: what a statement yields, by a word that it has in it."""

    role = Role.WRITER

    def __init__(self, dialect, rows_for=(), snapshot=True, json=True):
        self.dialect, self.rows_for = dialect, dict(rows_for)
        self.raw = python_types.SimpleNamespace(snapshot=snapshot, json=json, known={})
        self.texts = []

    def _sent(self, sql):
        if sql not in self.texts:
            self.texts.append(sql)
        return next((list(rows) for word, rows in self.rows_for.items() if word in sql), [])

    def run(self, sql, /, **params):
        text, order = parameters.bound("qmark", sql)
        assert set(order or ()) <= set(params), sql
        assert len(order or ()) <= bulk.PARAMETERS
        self._sent(text)
        return 0

    def rows(self, sql, /, **params):
        text, order = parameters.bound("qmark", sql)
        assert set(order or ()) <= set(params), sql
        return self._sent(text)

    def row(self, sql, /, **params):
        found = self.rows(sql, **params)
        return found[0] if found else None

    def direct(self, sql, params=None):
        self._sent(connections._CONTROL.get(sql, sql))
        assert len(params or ()) <= bulk.PARAMETERS
        return 0

    def batches(self, sql, rows, size, /, **params):
        yield self.rows(sql, **params)

    def begin(self):
        for sql in self.dialect.begins(self.role):
            self.direct(sql)

    def commit(self):
        self.direct("commit")

    def rollback(self):
        self.direct("rollback")

    @contextlib.contextmanager
    def step(self, name):
        yield

    @contextlib.contextmanager
    def using(self):
        sent = self._sent
        rows: list = []
        yield python_types.SimpleNamespace(
            execute=lambda sql, params=None: rows.extend(sent(sql)), fetchall=lambda: rows
        )


@pytest.fixture
def dialect():
    return SQLServer(Address("mssql", host="db", database="shop"))


NATIVES = {
    "id": "bigint", "code": "varchar(10) collate Latin1_General_CI_AS", "word": "nchar(8) collate Latin1_General_CI_AS",
    "day": "date", "moment": "datetime2(7)", "old": "datetime", "small": "smalldatetime", "abroad": "datetimeoffset(3)",
    "clock": "time(3)", "price": "decimal(12,2)", "cash": "money", "flag": "bit", "tiny": "tinyint", "ratio": "float",
    "short": "real", "note": "nvarchar(max) collate Latin1_General_CI_AS", "blob": "varbinary(max)", "bin": "binary(4)",
    "uuid": "uniqueidentifier", "xml": "xml", "ancient": "text collate Latin1_General_CI_AS", "picture": "image",
    "tree": "hierarchyid", "version": "rowversion", ODD: "int",
}  # fmt: skip
NO_KEYS = ("note", "blob", "xml", "ancient", "picture", "tree")
KEY = ("code", "id")


def shape_of(natives=NATIVES, key=KEY, table=ODD):
    columns = tuple(Column(name, types.logical(native), native) for name, native in natives.items())
    return TableShape("dbo", table, columns, key, identity="1 2")


def capture_of(columns=KEY, key=KEY):
    return Capture("c1", "dbo", ODD, key, columns, "events_x_0123456789")


def mirror_of(dialect, natives=NATIVES, key=KEY, **more):
    ordered = [*key, *(name for name in natives if name not in key)]
    typed = {name: (types.logical(native), native) for name, native in natives.items()}
    mapped = tuple(Mapped(name, dialect.quote(name), *typed[name], *typed[name]) for name in ordered)
    return Mirror("ns/m", "m1", "default", capture_of(key=key, columns=key), ("dbo", ODD), ("dbo", ODD), mapped, **more)


def accepted(texts):
    assert texts
    # All in one call; one by one only to name what is refused.
    refused = [found for found in map(complaint, texts) if found] if complaint("\nGO\n".join(texts)) else []
    assert not refused, "\n\n".join(refused)


@pytest.mark.parametrize(
    "broken",
    [
        "select 1 from t limit 1",
        "insert into t values (1) on conflict do nothing",
        "create trigger t on x after insert as begin select 1",
        "select 1 where (a, b) in (select 1, 2)",
        "if 1 = 1 create trigger t on x after insert as select 1",
    ],
)
def test_the_grammar_refuses_what_is_no_sql_of_the_server(broken):
    assert complaint(broken)


def test_names_and_texts_with_whatever_characters_stay_what_they_are(dialect):
    accepted([f"select {dialect.quote(ODD)} from {dialect.table(ODD, ODD)} where x = {dialect.quoted(ODD)}"])
    for text in (dialect.quote(ODD), dialect.quoted("it's :x")):
        assert parameters.bound("qmark", f"select {text}")[1] == ()


@pytest.mark.parametrize("native", [n for name, n in NATIVES.items() if name not in NO_KEYS])
def test_capture_of_a_key_of_any_type(dialect, native):
    shape, one = shape_of({"k": native, "v": "int"}, ("k",)), capture_of(("k", "v"), ("k",))
    accepted([*(s.sql for s in dialect.install(one, shape)), dialect._rendering(one).definition(shape)])


@pytest.mark.parametrize("native", ["xml", "image", "hierarchyid", NATIVES["note"], NATIVES["ancient"]])
def test_a_key_that_no_index_takes_is_refused(dialect, native):
    with pytest.raises(errors.SpecError, match="cannot be"):
        dialect.install(capture_of(("k",), ("k",)), shape_of({"k": native}, ("k",)))


def test_capture_is_made_replaced_looked_at_and_removed(dialect):
    shape, one = shape_of(), capture_of(("code", "id", "word", "flag"))
    session = Recorder(dialect)
    dialect.capture_state(session, one, shape)
    made = [*dialect.install(one, shape), *dialect.upgrade(one, shape), *dialect.uninstall(one)]
    texts = [s.sql for s in made] + dialect.home() + dialect.leave_home() + session.texts
    texts += [dialect.meta_table(table) for table in (*base.SOURCE_TABLES, *checkpoints.TABLES)]
    texts.append(dialect._rendering(one).definition(shape))
    accepted(texts)


def test_the_catalog_is_asked(dialect):
    answers = {
        "has_perms_by_name(null": [(1,)],
        "sys.dm_tran_locks": [(7, "app", "GRANT", 3, "sleeping")],
        "Updateability": [("15.0.1", "READ_WRITE")],
        "ProductVersion": [("15.0.1", "db", "b", "c", 5, "d")],
        "sys.partitions": [(5,)],
        "user_name(), case": [("me", 0, 0, 0, 0, 0)],
        "has_perms_by_name(?, 'OBJECT'": [(0,)],
        "user_name(coalesce": [("sales", "dbo")],
        "c.seed_value": [("id", 1, 1, None)],
    }
    session = Recorder(dialect, answers)
    dialect.server(session)
    dialect.check(session, Role.READER)
    dialect.shape(session, "", "t")
    dialect.tables(session, "")
    dialect.schemas(session)
    dialect.fingerprints(session, [("", "a"), ("x", "b")])
    dialect.estimated_rows(session, "", "t")
    dialect.indexes(session, "", "t")
    assert dialect.in_the_way(session, "", "t").startswith("session 7 of app, in a transaction")
    inspection.in_memory(session, "dbo", "t")
    missing = dialect.missing_at_source(session, [("", ODD)]) + dialect.missing_at_destination(session, [("", ODD)])
    assert any(text.startswith("alter authorization") for text in missing)
    (numbering,) = dialect.numberings(session, "", ODD)
    texts = [s.sql for s in dialect.number_from("", ODD, numbering, 7)]
    accepted([*session.texts, *missing, *texts, f"{connections.SETTINGS}; set lock_timeout 1"])
    accepted([connections.SNAPSHOT_ALLOWED, connections.ROLL_BACK])


def test_a_source_is_read(dialect):
    mirror = mirror_of(dialect, {n: t for n, t in NATIVES.items() if t != "xml"}, where="price > 0")
    session = Recorder(dialect)
    given, values = dialect.given_keys(session, mirror, [("a", 1), ("b", 2)])
    texts = [
        dialect.changes(mirror, given),
        dialect.changes(mirror, given, upto=True),
        dialect.rows_of(mirror),
        *(dialect.chunk_end(mirror, after=after) for after in (False, True)),
        *(dialect.chunk(mirror, after=after, upto=upto) for after in (False, True) for upto in (False, True)),
        f"select {dialect.now()}",
    ]
    for sql in texts:
        session.rows(sql, **values, a0="", a1=0, b0="", b1=0, skip=1)
    accepted(session.texts)


@pytest.mark.parametrize("snapshot", [True, False])
def test_windows_are_read(dialect, snapshot):
    one = capture_of()
    answers = {
        "@@dbts), conv": [(90, 80)],
        "@@dbts": [(90,)],
        windows.BOUND: [(80,)],
        "top (501)": [(81, 82), (85, 85)],
        "bigint, max(q.rv)": [(3,)],
        "sys.partitions": [(1000,)],
        "case when at <": [(9, 1)],
    }
    session = Recorder(dialect, answers, snapshot=snapshot)
    reader = dialect.reader([one, dataclasses.replace(one, id="c2", event_table="events_y")])
    reader.token(session)
    until = reader.open(session, [])
    assert until == ("80:81-82,85" if snapshot else "80:")
    many = windows.Seen(10, tuple((n, n) for n in range(12, 1000, 2))).text()
    ends = [("", until), ("10:", "20:"), (until, until), ("5:", many)]
    for window in (Window(Position(since), Position(end)) for since, end in ends):
        reader.pending(session, {"c1": window.since, "c2": window.since}, window.until, 100)
        for more in ({}, {"columns": (1,)}, {"after": 3, "limit": 10}):
            sql, params = reader.keys(one, window, **more)
            session.rows(sql, **params)
        reader.page_end(session, one, window, 3, 10)
    reader.issued(session, until)
    reader.purge(session, one, [until], 5)
    reader.expire(session, one, 60, 10, 5)
    accepted(session.texts)


def test_the_bound_of_a_window_is_asked_for_before_its_snapshot_begins(dialect):
    session = Recorder(dialect, {windows.BOUND: [(80,)]})
    dialect.reader([capture_of()]).open(session, [])
    assert session.texts[:2] == [windows.BOUND, "begin transaction"]


def test_a_window_that_ends_below_what_its_snapshot_sees_is_no_image(dialect):
    many = [(n, n) for n in range(100, 100 + 2 * windows.MOST_RANGES + 2, 2)]
    session = Recorder(dialect, {windows.BOUND: [(80,)], "top (501)": many})
    reader = dialect.reader([capture_of()])
    assert reader.open(session, []) == "80:"
    assert "has been open" in dialect.no_image(session)
    session.rows_for["top (501)"] = many[:-1]
    assert reader.open(session, []) != "80:"
    assert dialect.no_image(session) == ""


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("system", ["", "operation"])
def test_a_destination_is_written(dialect, json, system):
    natives = {n: t for n, t in NATIVES.items() if t not in ("rowversion", "image", "hierarchyid")}
    mirror = mirror_of(dialect, natives)
    if system:
        last = dataclasses.replace(mirror.columns[-1], system=system)
        mirror = dataclasses.replace(mirror, columns=(*mirror.columns[:-1], last))
    session = Recorder(dialect, {"sys.identity_columns": [("tiny",)]}, json=json)
    values = {Kind.BYTES: b"\0\1", Kind.DECIMAL: "1.50", Kind.INTEGER: 1, Kind.BOOLEAN: True, Kind.FLOAT: 0.5,
              Kind.DATE: "2020-01-01", Kind.TIME: "10:00:00.5", Kind.TIMESTAMP: "2020-01-01 10:00:00",
              Kind.UUID: "6f9619ff-8b86-d011-b42d-00c04fc964ff"}  # fmt: skip
    row = (1, *(values.get(column.destination_type.kind, "it's") for column in mirror.columns))
    staged = dialect.stage(session, mirror, [[row, (0, "k", 2, *[None] * (len(row) - 3))] * 60])
    assert (staged.rows, staged.present, staged.absent) == (120, 60, 60)
    dialect.upsert(session, mirror, staged)
    dialect.update(session, mirror, staged)
    dialect.insert(session, mirror, [[row]])
    dialect.delete(session, mirror, staged)
    dialect.delete(session, mirror, staged, absent_only=False)
    dialect.change_absent(session, mirror, staged, [('"price"', "null")], '"price" is null')
    dialect.blank(session, mirror, staged, ["price"])
    dialect.blank(session, mirror, staged, ["price"], absent_only=True)
    dialect.unstage(session, mirror, staged)
    accepted(session.texts)


def test_a_key_that_the_source_tells_apart_by_blanks_overwrites_no_other_row(dialect):
    mirror = mirror_of(dialect, {"id": "int", "code": f"nvarchar(20) collate {types.EXACT}"})
    target = bulk.Target(mirror, dialect)
    staged = base.Staged(f"{target.stage} as s", 1)
    assert "a.present = 0" in target.same(staged)
    session = Recorder(dialect)
    bulk.prepare(session, target)
    accepted([*session.texts, bulk.update_present(target, staged), bulk.insert_absent(target, staged)])


def test_a_part_of_what_is_staged_is_all_that_is_written(dialect):
    """Rows whose parents are missing stay in the stage, and out of the table."""
    mirror = mirror_of(dialect, {"id": "int", "code": f"nvarchar(20) collate {types.EXACT}", "v": "int"})
    target = bulk.Target(mirror, dialect)
    part = f"(select s.* from {target.stage} as s where s.v > 1) as s"
    session = Recorder(dialect)
    for write in (dialect.upsert, dialect.update, dialect.delete):
        write(session, mirror, base.Staged(part, 1))
    dialect.change_absent(session, mirror, base.Staged(part, 1), [('"v"', "null")], "")
    written = [text for text in session.texts if text.startswith(("update", "insert", "delete"))]
    assert len(written) == 4
    assert not any(target.stage in text.replace(part.removesuffix(" as s"), "") for text in written)
    accepted(written)


def test_tables_are_made_and_altered(dialect):
    columns = [Column(n, types.logical(t), t) for n, t in NATIVES.items()]
    made = [*dialect.create_table("sales", ODD, columns, KEY), dialect.add_column("", ODD, columns[1])]
    for column, native in zip(columns[:2], ("bigint", "nvarchar(40)"), strict=True):
        made.append(dialect.change_type("", ODD, column, native))
    accepted([statement.sql for statement in made])


def test_checksums_are_made_of_every_type(dialect):
    texts = []
    for native in NATIVES.values():
        type_ = types.logical(native)
        with contextlib.suppress(NotImplementedError):
            texts.append(dialect.canonical('"x"', type_, dataclasses.replace(type_, fraction=3, scale=1)))
    hashed = dialect.hashed(texts)
    accepted([f"select {hashed} % 32, {dialect.total(hashed)} from t group by {hashed} % 32", types.ENCODES_UTF8])


@pytest.mark.parametrize("kind", [sides.Side, sides.ValueSide])
def test_a_side_of_a_comparison_is_read(dialect, kind):
    natives = {name: native for name, native in NATIVES.items() if name not in NO_KEYS or name in ("note", "blob")}
    mirror = mirror_of(dialect, natives, where="price > 0")
    session = Recorder(dialect, {"select count(*), sum(": [(1, 2)], "sys.partitions": [(5,)]})
    floats = ["ratio", "short"]
    by_value = [i for i, c in enumerate(mirror.columns) if kind is sides.ValueSide or c.destination in floats]
    for values in (by_value, *([[]] if kind is sides.Side else [])):
        kept = [c for c in mirror.columns if values or c.destination not in floats]
        side = kind(session, dataclasses.replace(mirror, columns=tuple(kept)), values)
        for after in ((), ("a", 1)):
            side.end(after, 10)
            side.sum(after, ("b", 2))
            side.buckets(after, ("b", 2), 32)
            list(side.rows(after, ("b", 2), {1, 2}, 32))
        side.look_up([("a", 1), ("b", 2)])
        window = Window(Position("5:"), Position("9:"))
        side.among([("a", 1)], *dialect.reader([mirror.capture]).keys(mirror.capture, window))
        side.estimated()
    accepted(session.texts)


def test_what_is_written_down_at_a_source_and_read_again(dialect):
    session = Recorder(dialect)
    one = capture_of()
    execute.record(session, dialect, one)
    observe.captures(session, dialect)
    observe.registrations(session, dialect)
    observe.heartbeat(session, dialect)
    accepted(session.texts)


@pytest.mark.parametrize(("found", "able"), [([(1,)], True), ([], False)])
def test_a_server_without_utf8_is_asked_for_no_checksums(dialect, found, able):
    """The collation came with 2019."""
    session = Recorder(dialect, {types.ENCODES_UTF8: found})
    assert dialect.hashes(session) is able
    assert session.texts == [types.ENCODES_UTF8]


def test_our_own_tables_are_kept(dialect):
    key = ("a", 1)
    answers = {"select format, incarnation": [(1, "i", "o", 1, "[]", 60, 1)], "select digest, reason, attempts": [],
               "count(*), max(detail)": [(0, None)], "select count(*)": [(1,)], "'reflection/%'": []}  # fmt: skip
    session = Recorder(dialect, answers)
    fence.found(session, dialect, "o", 60, adopt=False)
    fence.advance(session, dialect, "o", 60, {"r": ("c", "p", "n")})
    fence.adopt_registrations(session, dialect, "o")
    fence.unregister(session, dialect, "o", "r")
    checkpoints.load(session, dialect, "o", ["a", "b"])
    checkpoints.move(session, dialect, checkpoints.Checkpoint("o", "n"), Position("1:"), checkpoints.State())
    with contextlib.suppress(errors.StaleCheckpoint):
        checkpoints.move(session, dialect, checkpoints.Checkpoint("o", "n", 3), Position("1:"), checkpoints.State())
    checkpoints.adopt(session, dialect, "a", "b")
    checkpoints.forget(session, dialect, "o", "n")
    keys.note(session, dialect, "o", "n", [("a", i) for i in range(600)], "parent")
    keys.due(session, dialect, "o", "n", 1.0, 10)
    keys.waiting(session, dialect, "o")
    keys.overdue(session, dialect, "o", "n", 1.0)
    keys.bury(session, dialect, "o", "n", 1.0, "d", wait=2.0, at_most=8.0)
    keys.make_due(session, dialect, "o", "n", "dead")
    keys.noted_as(session, dialect, "o", "n", "dead", 5)
    keys.noted_for(session, dialect, "o", "n", "dead", 5)
    keys.reasons(session, dialect, "o", "n", [keys.digest_of(key)])
    keys.attempt(session, dialect, "o", "n", [keys.digest_of(key)])
    keys.settle(session, dialect, "o", "n", [keys.digest_of(key)])
    keys.release(session, dialect, "o", "n", "extra", to="due")
    keys.hasten(session, dialect, "o", "n")
    deadletters.attempt(session, lambda: None)
    accepted(session.texts)


def test_what_the_pipeline_asks_of_a_stage(dialect):
    natives = {"id": "int", "code": NATIVES["code"], "gone": "datetime2(3)"}
    mirror = mirror_of(dialect, natives, on_delete="Mark", soft_delete="gone")
    session = Recorder(dialect)
    staged = base.Staged("#pantograph_x as s", 2, present=1, absent=1)
    sharing.park_missing(session, dialect, "o", mirror, staged)
    sharing.all_gone(session, dialect, mirror)
    sharing.all_gone(session, dialect, dataclasses.replace(mirror, on_delete="Delete"))
    deadletters.keys_of(session, dialect, mirror, staged)
    statements.run(session, dialect, mirror, staged, "update t set x = :id", present=True)
    cascades.staged_rows(session, staged, f"select 1 from {staged.source} {dialect.at_most(1, ordered=False)}")
    session.direct(dialect.back_to_savepoint("a"))
    session.direct(dialect.savepoint("a"))
    accepted(session.texts)


def test_no_text_of_ours_has_what_a_captured_table_refuses_or_what_ends_the_process(dialect):
    """OUTPUT without INTO fails on a table with a trigger; MERGE races; fast_executemany crashes with FreeTDS."""
    mirror = mirror_of(dialect, {"id": "int", "code": NATIVES["code"], "v": "int"})
    target = bulk.Target(mirror, dialect)
    staged = base.Staged(f"{target.stage} as s", 1)
    texts = [bulk.update_present(target, staged), bulk.insert_absent(target, staged)]
    texts.append(bulk.delete_rows(target, staged, absent_only=True))
    texts.append(capture.Rendering(capture_of(), "pantograph", dialect.ours, "dbo").definition(shape_of()))
    assert not any(re.search(r"\b(output|merge|identity)\b", text) for text in texts)
    source = pathlib.Path(connections.__file__).read_text() + pathlib.Path(bulk.__file__).read_text()
    assert "fast_executemany =" not in source


def test_a_logical_type_of_any_kind_has_a_native_type_that_holds_it():
    for kind in (Kind.BOOLEAN, Kind.TEXT, Kind.BYTES, Kind.DATE, Kind.UUID, Kind.JSON):
        accepted([f"create table t (x {types.native(LogicalType(kind))})"])
