"""Many rows come in fewer columns than they have, and are the same rows."""

from __future__ import annotations

import pytest

from pantograph import errors

COLUMNS = (
    ("small", "smallint"), ("middle", "integer"), ("large", "bigint"), ("n1", "numeric(18,4)"), ("n2", "numeric(9,2)"),
    ("n3", "decimal(4,1)"), ("d", "date"), ("t", "time"), ("moment", "timestamp"), ("yes", "boolean"),
    ("f", "double precision"), ("u", "varchar(50) character set utf8"), ("l", "varchar(20) character set iso8859_1"),
    ("w", "varchar(20) character set win1252"), ("a", "varchar(20) character set ascii"),
    ("nobodys", "varchar(20) character set none"), ("o", "varchar(8) character set octets"),
    ("padded", "char(10) character set utf8"), ("lines", "blob sub_type text character set utf8"),
    ("wide", "varchar(8000) character set utf8"), ("folding", "varchar(9) character set utf8 collate unicode_ci"),
)  # fmt: skip
ROWS = (
    "-32768, -2147483648, -9223372036854775808, -99999999999999.9999, -0.01, 999.9, '0001-01-01', '23:59:59.9999', "
    "'9999-12-31 23:59:59.9999', true, 0.1, 'e\u0301 \U0001f389\t|=', '\u00e9\u00fc', '\u20ac', 'a b ', 'plain', "
    "x'0001ff', 'ab', 'lines\r\nof it', 'wide', '\u00c4'",
    "0, 0, 0, 0, 0, 0, '2026-02-28', '00:00:00', '2026-02-28 12:00:00.1', false, -0e0, '', '', '', '', '', x'', "
    "'', '', '', ''",
    ", ".join(["null"] * len(COLUMNS)),
    "1, -1, 10, 1.1, -1.10, 0.5, '1899-12-31', '00:00:01.0500', '1899-12-31 00:00:00', true, 1e300, '\t', ' ', '  ', "
    "'\t\t', ' x', x'20', '\t', '\t', '\t=', ' '",
)  # fmt: skip


@pytest.fixture
def filled(world):
    columns = ", ".join(f"{name} {native}" for name, native in COLUMNS)
    world.run(f"create table origin (id integer not null primary key, {columns})")
    for number, row in enumerate(ROWS):
        world.run(f"insert into origin values ({number}, {row})")
    return world


def columns_fetched(world, sql):
    cursor = world.dialect.streaming_cursor(world.reader.raw)
    cursor.execute(sql)
    fetched = cursor._statement.description
    cursor.close()
    return len(fetched)


@pytest.mark.parametrize("transaction", ["of its own", "of the reader"])
def test_rows_that_came_packed_are_those_that_came_plain(filled, transaction):
    mirror = filled.mirror(filled.capture("origin"), "origin")
    decoders = [filled.dialect.decode(column.source_type) for column in mirror.columns]
    sql = f"{filled.dialect.chunk(mirror, after=False, upto=False)} order by 2"

    def decoded(row):
        pairs = zip(decoders, row[1:], strict=True)
        return row[0], *(decode(value) if decode and value is not None else value for decode, value in pairs)

    if transaction == "of the reader":
        filled.reader.direct("begin read only")
        assert columns_fetched(filled, sql) < 10 < len(COLUMNS), "most columns are packed"
    packed = [row for batch in filled.reader.batches(sql, 1000, 1 << 20) for row in batch]
    plain = filled.reader.rows(sql)
    filled.reader.rollback()
    assert list(map(decoded, packed)) == list(map(decoded, plain))
    assert len(packed) == len(ROWS)


def test_few_columns_come_as_they_are(filled):
    filled.reader.direct("begin read only")
    assert columns_fetched(filled, "select id, u from origin") == 2
    assert columns_fetched(filled, "select id, f, lines, o, nobodys, padded, wide from origin") == 7
    filled.reader.rollback()


def test_an_expression_that_changes_as_one_looks_is_no_row(filled):
    sql = "select id, small, cast(cast(rand() * 1000 as integer) as varchar(20) character set utf8) as c from origin o"
    sql += " cross join rdb$types t"
    with pytest.raises(errors.DatabaseError, match="another text each time"):
        list(filled.reader.batches(sql, 100_000, 1 << 30))
