"""Rows reach the destination as they are, by every way there is, and nothing else is touched."""

import threading

import pytest

from pantograph import errors
from pantograph.dialects.postgresql import bulk
from pantograph.model.mirrors import Mapped
from pantograph.model.types import Kind, LogicalType

MANY = bulk.FEW + 50

# A table of every type, and rows that try what is odd about each.
COLUMNS = {
    "id": "int",
    "small": "smallint",
    "big": "bigint",
    "flag": "boolean",
    "exact": "numeric(12,3)",
    "any_digits": "numeric",
    "single": "real",
    "double": "double precision",
    "words": "text",
    "short": "varchar(20)",
    "padded": "char(6)",
    "raw": "bytea",
    "day": "date",
    "clock": "time",
    "moment": "timestamp",
    "zoned": "timestamptz",
    "milli": "timestamptz(3)",
    "ident": "uuid",
    "doc": "json",
    "docb": "jsonb",
    "span": "interval",
    "nums": "int[]",
    "texts": "text[]",
    "addr": "inet",
    "bits": "bit varying(8)",
    "cash": "money",
    "place": "point",
    "zone_clock": "timetz",
    'odd %s "name" :x': "text",
}
ROWS = [
    "1, -32768, 9223372036854775807, true, 123456789.125, 0.000000000000000000000000000000012345, 1.1, 0.1, "
    "E'tab\\t nl\\n cr\\r back\\\\slash \\\\N it''s \"q\" %s :x ;', 'Größe', 'ab', '\\x0001ff5c0a', '2024-02-29', "
    "'23:59:59.999999', '2024-01-01 00:00:00.000001', '2024-01-01 12:00:00.5+02', '2024-01-01 12:00:00.1234+00', "
    '\'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\', \'{"b": 1,  "a": [1,2]}\', \'{"b": 1, "a": null}\', '
    "'1 year 2 days 03:04:05.678', '{1,NULL,3}', E'{\"a,b\",\"c\\\\\"d\"}', '10.0.0.0/8', B'1010', '12.50', '(1,2)', "
    "'12:00:00+03', 'x'",
    "2, 0, 0, false, 0, 1e20, 'NaN', 'Infinity', '', '', '', '', 'infinity', '24:00:00', '-infinity', "
    "'0001-01-01 00:00:00+00', '294276-01-01 00:00:00+00', '00000000-0000-0000-0000-000000000000', 'null', '\"x\"', "
    "'-1 mon', '{}', '{}', '::1', B'', '-0.01', '(0,0)', '00:00:00+00', ''",
    "3" + ", null" * (len(COLUMNS) - 1),
    "4, 1, 1, true, -0.001, 'NaN', '-0', 1e-300, repeat('ü', 5000), null, 'x', '\\x', '4000-01-01 BC', '00:00', "
    "'4000-01-01 00:00:00 BC', '4000-01-01 00:00:00 BC', null, null, '[]', '{}', null, null, null, null, null, null, "
    "null, null, E'\\u20ac\\U0001F600'",
]


def make_everything(place):
    quoted = [f"{place.dialect.quote(name)} {native}" for name, native in COLUMNS.items()]
    place.app(f"create table everything ({', '.join(quoted)}, primary key (id))", None)


def image(place, table="everything"):
    return place.app(f"select t::text from {table} t order by id")


@pytest.fixture
def everything(source, target):
    make_everything(source)
    make_everything(target)
    for row in ROWS:
        source.app(f"insert into everything values ({row})", None)
    return source.mirror(source.capture("everything"), target)


def read(source, mirror):
    source.reader.run("begin isolation level repeatable read read only")
    rows = source.reader.rows(source.dialect.chunk(mirror, after=False, upto=False))
    source.reader.run("rollback")
    return [tuple(row) for row in rows]


def pipe(source, target, mirror, *, direct=False, sql=None):
    source.reader.run("begin isolation level repeatable read read only")
    try:
        return source.dialect.pipe(
            source.reader,
            sql or source.dialect.chunk(mirror, after=False, upto=False),
            {},
            mirror,
            target.dialect,
            target.writer,
            direct=direct,
        )
    finally:
        source.reader.run("rollback")


def fake_rows(count, first=100):
    """Rows of `(present, id, note)`."""
    return [(1, n, f"row {n}") for n in range(first, first + count)]


@pytest.fixture
def notes(source, target):
    for place in (source, target):
        place.app("create table notes (id int primary key, note text)")
    return source.mirror(source.capture("notes"), target)


# Values.


MOMENTS = [
    ("date '0044-03-15 BC'", Kind.DATE, "0044-03-15 BC"),
    ("date '5874897-12-31'", Kind.DATE, "5874897-12-31"),
    ("date '-infinity'", Kind.DATE, "-infinity"),
    ("timestamp 'infinity'", Kind.TIMESTAMP, "infinity"),
    ("timestamp '0044-03-15 12:00 BC'", Kind.TIMESTAMP, "0044-03-15 12:00:00 BC"),
    ("timestamp '294276-12-31 00:00'", Kind.TIMESTAMP, "294276-12-31 00:00:00.000000"),
]


@pytest.mark.parametrize(("sql", "kind", "text"), MOMENTS)
def test_a_moment_that_only_this_engine_knows_has_a_text_of_its_own(source, sql, kind, text):
    type_ = LogicalType(kind)
    assert source.side.row(f"select {source.dialect.canonical(sql, type_, type_)}") == (text,)


@pytest.mark.parametrize("ways", ["literals", "stage", "copy"])
def test_every_type_arrives_as_it_was_through_python(source, target, everything, ways, monkeypatch):
    rows = read(source, everything)
    if ways == "stage":
        monkeypatch.setattr(bulk, "FEW", 0)
    if ways == "copy":
        assert target.dialect.insert(target.writer, everything, [rows[:1], rows[1:]]) == len(ROWS)
    else:
        assert target.write(everything, rows) == (len(ROWS), 0)
    assert image(target) == image(source)
    # Applying it twice changes nothing.
    assert target.write(everything, rows) == (0, 0)


def test_values_are_canonical(source, everything):
    row = dict(zip(["present", *COLUMNS], read(source, everything)[0], strict=True))
    assert row["big"] == 9223372036854775807
    assert row["flag"] is True
    assert row["exact"] == "123456789.125"
    assert row["any_digits"] == "0.000000000000000000000000000000012345"
    assert row["double"] == 0.1
    assert row["raw"] == b"\x00\x01\xff\x5c\x0a"
    assert row["day"] == "2024-02-29"
    assert row["clock"] == "23:59:59.999999"
    assert row["moment"] == "2024-01-01 00:00:00.000001"
    assert row["zoned"] == "2024-01-01 10:00:00.5"
    assert row["ident"] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert row["doc"] == '{"b": 1,  "a": [1,2]}'
    assert row["nums"] == "{1,NULL,3}"
    assert row["span"] == "1 year 2 days 03:04:05.678"


@pytest.mark.parametrize("direct", [False, True])
def test_every_type_arrives_as_it_was_through_a_pipe(source, target, everything, direct):
    target.writer.begin()
    staged = pipe(source, target, everything, direct=direct)
    assert staged.rows == len(ROWS)
    if not direct:
        assert target.dialect.upsert(target.writer, everything, staged) == len(ROWS)
    target.writer.commit()
    assert image(target) == image(source)


def test_a_pipe_of_the_same_types_is_binary_and_of_others_is_not(source, target, monkeypatch):
    seen = []
    flow = bulk._flow
    monkeypatch.setattr(bulk, "_flow", lambda *a: seen.append(a[1]) or flow(*a))
    source.app("create table t (id int primary key, v numeric(6,2), w varchar(5))")
    source.app("insert into t values (1, 1.50, 'x')")
    target.app("create table t (id int primary key, v numeric(6,2), w varchar(5))")
    target.app("create table wide (id bigint primary key, v numeric, w text)")
    capture = source.capture("t")
    for table in ("t", "wide"):
        mirror = source.mirror(capture, target, table)
        target.writer.begin()
        staged = pipe(source, target, mirror)
        assert target.dialect.upsert(target.writer, mirror, staged) == 1
        target.writer.commit()
        assert target.app(f"select id, v::text, w from {table}") == [(1, "1.50", "x")]
    assert ["binary" in sql for sql in seen] == [True, False]


def test_a_destination_whose_type_was_changed_since_the_plan_gets_no_garbage(source, target):
    source.app("create table t (id int primary key, v bigint); insert into t values (1, 1234567890123)")
    target.app("create table t (id int primary key, v bigint)")
    mirror = source.mirror(source.capture("t"), target)
    target.app("alter table t alter v type numeric")
    target.writer.begin()
    pipe(source, target, mirror, direct=True)
    target.writer.commit()
    assert target.app("select v::text from t") == [("1234567890123",)]


def test_a_source_whose_type_was_changed_since_the_plan_gives_what_the_plan_saw(source, target):
    source.app("create table t (id int primary key, v int); insert into t values (1, 42)")
    target.app("create table t (id int primary key, v int)")
    mirror = source.mirror(source.capture("t"), target)
    source.app("alter table t alter v type numeric(9,3)")
    target.writer.begin()
    pipe(source, target, mirror, direct=True)
    target.writer.commit()
    assert target.app("select v from t") == [(42,)]


def test_what_changes_its_kind_does_not_go_through_a_pipe(source, target):
    source.app("create table t (id int primary key, v boolean)")
    target.app("create table t (id int primary key, v int)")
    mirror = source.mirror(source.capture("t"), target)
    assert pipe(source, target, mirror) is None
    assert target.write(mirror, [(1, 1, True), (1, 2, False), (1, 3, None)]) == (3, 0)
    assert target.write(mirror, [(1, n, True) for n in range(MANY)]) == (MANY - 1, 0)
    assert target.app("select id, v from t where id < 4 order by id") == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_a_source_that_fails_in_the_middle_of_a_pipe_fails_the_turn(source, target, notes):
    source.app("insert into notes select g, repeat('x', 100) from generate_series(1, 20000) g")
    broken = (
        "select 1 as present, id as c0, case when id < 19000 then note else (1 / (id - id))::text end as c1 from notes"
    )
    target.writer.begin()
    with pytest.raises(errors.Rejected, match="does not fit"):
        pipe(source, target, notes, sql=broken)
    target.writer.rollback()
    # Both sessions are as good as before.
    target.writer.begin()
    assert pipe(source, target, notes).rows == 20000
    target.writer.commit()


def test_a_destination_that_fails_in_the_middle_of_a_pipe_fails_the_turn(source, target, notes):
    source.app("insert into notes select g, repeat('x', 1000) from generate_series(1, 30000) g")
    target.app("alter table notes add check (length(note) < 10)")
    target.writer.begin()
    with pytest.raises(errors.Rejected) as caught:
        pipe(source, target, notes, direct=True)
    assert caught.value.kind == "check"
    target.writer.rollback()
    assert source.reader.row("select 1") == (1,)


# Staging.


@pytest.mark.parametrize("count", [0, 1, bulk.FEW, bulk.FEW + 1, 3 * bulk.FEW])
def test_any_number_of_rows_is_staged(target, notes, count):
    rows = fake_rows(count)
    batches = [rows[n : n + 70] for n in range(0, count, 70)]
    target.writer.begin()
    staged = target.dialect.stage(target.writer, notes, batches)
    assert staged.rows == count
    assert staged.literal == (count <= bulk.FEW)
    assert target.dialect.upsert(target.writer, notes, staged) == count
    assert target.dialect.delete(target.writer, notes, staged) == 0
    assert target.dialect.delete(target.writer, notes, staged, absent_only=False) == count
    target.writer.commit()


def test_few_rows_that_are_long_go_into_no_statement(target, notes):
    long = [(*row[:-1], "x" * bulk.SHORT) for row in fake_rows(2)]
    target.writer.begin()
    staged = target.dialect.stage(target.writer, notes, [long])
    assert (staged.rows, staged.present, staged.literal) == (2, 2, False)
    assert target.dialect.upsert(target.writer, notes, staged) == 2
    target.writer.rollback()


def test_a_stage_is_empty_when_it_is_used_again_whatever_became_of_the_last_turn(target, notes):
    writer, dialect = target.writer, target.dialect
    writer.begin()
    dialect.stage(writer, notes, [fake_rows(MANY)])
    writer.rollback()
    for _ in range(2):
        writer.begin()
        dialect.stage(writer, notes, [fake_rows(MANY)])
        assert dialect.stage(writer, notes, [fake_rows(MANY + 1)]).rows == MANY + 1
        staged = dialect.stage(writer, notes, [fake_rows(MANY, first=1)])
        dialect.upsert(writer, notes, staged)
        writer.commit()
    assert target.app("select count(*), min(id) from notes") == [(MANY, 1)]


def test_two_mirrors_do_not_share_a_stage(source, target):
    for place in (source, target):
        place.app("create table a (id int primary key, v text); create table b (id text primary key)")
    first = source.mirror(source.capture("a"), target, id="same")
    second = source.mirror(source.capture("b"), target, id="same")
    assert target.write(first, [(1, n, "x") for n in range(MANY)]) == (MANY, 0)
    assert target.write(second, [(1, f"k{n}") for n in range(MANY)]) == (MANY, 0)


@pytest.mark.parametrize("count", [1, MANY])
def test_a_zero_character_is_refused_by_name_and_without_the_value(target, notes, count):
    rows = [*fake_rows(count), (1, 1, "secret\0value")]
    with pytest.raises(errors.Rejected) as caught:
        target.write(notes, rows)
    assert caught.value.kind == "type"
    assert "secret" not in str(caught.value)


def test_what_fails_at_the_source_in_the_middle_of_a_copy_is_said_as_it_is(target, notes):
    def batches():
        yield [(1, n, "text") for n in range(MANY)]
        raise errors.Rejected("a value is no number", kind="type")

    target.writer.begin()
    with pytest.raises(errors.Rejected, match="no number"):
        target.dialect.stage(target.writer, notes, batches())
    target.writer.rollback()


# Upserts and deletes.


def test_a_row_that_could_not_be_read_for_a_copy_is_refused_as_itself(target, notes):
    def rows():
        yield [(1, n, "a") for n in range(1000)]
        raise errors.Rejected("not of its type", kind="type")

    with pytest.raises(errors.Rejected, match="not of its type"):
        target.dialect.insert(target.writer, notes, rows())


def test_a_value_of_another_type_is_refused_with_its_column_when_it_is_staged_strictly(source, target):
    for place in (source, target):
        place.app("create table days (id int primary key, day date, flag boolean)")
    mirror = source.mirror(source.capture("days"), target)
    for row, column in (((1, 1, "secret", None), "day"), ((1, 1, None, 2), "flag")):
        with pytest.raises(errors.Rejected) as refused:
            target.dialect.stage_strictly(target.writer, mirror, [[row]])
        assert f"column {column}" in str(refused.value)
        assert "secret" not in str(refused.value)


def test_a_row_that_is_equal_is_left_alone_and_others_are_not_touched(target, notes):
    target.app("insert into notes values (1, 'a'), (2, 'b'), (3, null), (4, 'd'), (5, 'mine')")
    before = dict(target.app("select id, ctid::text from notes"))
    rows = [(1, 1, "a"), (1, 2, "B"), (1, 3, None), (0, 4, None), (1, 6, "new"), (0, 7, None)]
    assert target.write(notes, rows) == (2, 1)
    assert target.app("select * from notes order by id") == [(1, "a"), (2, "B"), (3, None), (5, "mine"), (6, "new")]
    after = dict(target.app("select id, ctid::text from notes"))
    assert {key for key in before if after.get(key) == before[key]} == {1, 3, 5}


@pytest.mark.parametrize("native", ["json", "point", "xml", "citext", "text collate folded", "jsonb", "box"])
def test_what_has_no_exact_equality_of_its_own_is_still_compared(source, target, native):
    for place in (source, target):
        place.app("create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        if native == "citext":
            place.database.execute("create extension citext", "superuser")
        place.app(f"create table t (id int primary key, v {native})")
    first, second = {
        "json": ("{}", "[]"),
        "jsonb": ("{}", "[]"),
        "point": ("(1,2)", "(2,1)"),
        "box": ("(2,2),(0,0)", "(4,1),(0,0)"),
        "xml": ("<a/>", "<b/>"),
    }.get(native, ("abc", "ABC"))
    mirror = source.mirror(source.capture("t"), target)
    assert target.write(mirror, [(1, 1, first)]) == (1, 0)
    assert target.write(mirror, [(1, 1, first)]) == (0, 0)
    assert target.write(mirror, [(1, 1, second)]) == (1, 0)
    assert target.app("select v::text from t") == [(second,)]


@pytest.mark.parametrize("count", [1, MANY])
def test_a_key_that_changes_only_in_case_is_kept_where_the_destination_takes_both_for_one(source, target, count):
    target.app("create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    source.app("create table t (id text primary key, v int)")
    target.app("create table t (id text collate folded primary key, v int)")
    mirror = source.mirror(source.capture("t"), target)
    target.app("insert into t values ('abc', 1), ('gone', 1)")
    rows = [(0, "abc", None), (1, "ABC", 1), (0, "GONE", None)] + [(1, f"k{n}", 1) for n in range(count)]
    assert target.write(mirror, rows) == (1 + count, 1)
    assert target.app("select id from t where id = 'abc' collate folded") == [("ABC",)]
    # Two source rows that the destination takes for one key are one row, and no error.
    assert target.write(mirror, [(1, "x", 1), (1, "X", 1)])[0] == 1


def test_composite_keys_and_odd_names(source, target):
    for place in (source, target):
        place.app(
            'create table "se:lect" ("a ""%s" int, "b :x" text, "order" int, primary key ("b :x", "a ""%s"))', None
        )
    source.app("""insert into "se:lect" values (1, 'x', 1), (2, 'y', 1)""")
    capture = source.capture("se:lect")
    mirror = source.mirror(capture, target)
    rows = read(source, mirror)
    assert target.write(mirror, rows) == (2, 0)
    assert target.write(mirror, [(0, "x", 1, None)]) == (0, 1)
    target.writer.begin()
    assert pipe(source, target, mirror).rows == 2
    target.writer.commit()


def test_numbered_columns_take_the_source_s_numbers(source, target):
    source.app("create table t (id int primary key, v text)")
    target.app("create table t (id int generated always as identity primary key, v text)")
    mirror = source.mirror(source.capture("t"), target)
    assert target.write(mirror, [(1, 7, "x")]) == (1, 0)
    assert target.write(mirror, [(1, 7, "y"), *[(1, n, "z") for n in range(100, 100 + MANY)]]) == (MANY + 1, 0)
    assert target.dialect.insert(target.writer, mirror, [[(1, 8, "x")]]) == 1


def test_a_table_of_keys_only(source, target):
    for place in (source, target):
        place.app("create table t (a int, b int, primary key (a, b))")
    mirror = source.mirror(source.capture("t"), target)
    assert target.write(mirror, [(1, 1, 1), (1, 1, 2)]) == (2, 0)
    assert target.write(mirror, [(1, 1, 1), (0, 1, 2)]) == (0, 1)


def test_insert_takes_only_rows_that_are_present(target, notes):
    assert target.dialect.insert(target.writer, notes, [fake_rows(3), [(0, 1, None)], []]) == 3


@pytest.mark.full
def test_two_writers_of_the_same_rows_do_not_deadlock(make_place, source, target, notes):
    import random

    second = target.session(target.writer.role)
    failed = []

    def write(session, seed):
        rng = random.Random(seed)
        for turn in range(40):
            rows = [(1, n, f"{seed} {turn}") for n in range(1, 400)]
            rng.shuffle(rows)
            session.begin()
            try:
                target.dialect.upsert(session, notes, target.dialect.stage(session, notes, [rows]))
                session.commit()
            except errors.Contended as error:
                failed.append(error)
                session.rollback()

    threads = [threading.Thread(target=write, args=each) for each in ((target.writer, 1), (second, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.full
def test_a_batch_is_merged_into_a_large_table_by_its_index(source, target, notes):
    """Nobody has analyzed the stage, and the table's statistics are of another time."""
    target.app("insert into notes select g, 'x' from generate_series(1, 300000) g; analyze notes")
    writer, dialect = target.writer, target.dialect
    writer.begin()
    staged = dialect.stage(writer, notes, [[(n % 2, n, "y") for n in range(1000)]])
    text = "\n".join(
        line
        for (line,) in writer.rows(
            f"explain delete from notes d using {staged.source} where d.id = s.id and s.present = 0"
        )
    )
    assert "Seq Scan on notes" not in text
    assert dialect.upsert(writer, notes, staged) == 500
    assert dialect.delete(writer, notes, staged) == 499
    writer.rollback()


# Mapped by hand: values of other engines.


def test_canonical_values_of_other_engines_are_taken(source, target, notes):
    target.app("create table t (id bigint primary key, d numeric(10,2), f float8, b boolean, ts timestamptz, u uuid)")
    shape = target.shape("t")
    mapped = tuple(Mapped(c.name, "x", c.type, c.native, c.type, c.native) for c in shape.columns)
    import dataclasses

    mirror = dataclasses.replace(notes, destination=("public", "t"), columns=mapped, id="m9")
    row = (1, 1, "-12.50", 0.1, True, "2024-01-01 00:00:00.5", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".lower())
    assert target.write(mirror, [row]) == (1, 0)
    assert target.write(mirror, [row] + [(1, n, *row[2:]) for n in range(2, MANY)]) == (MANY - 2, 0)
    assert target.app("select distinct d::text, f, b, ts at time zone 'UTC' = '2024-01-01 00:00:00.5' from t") == [
        ("-12.50", 0.1, True, True)
    ]
