"""A value of every type, from every engine to every engine: what one engine's client wrote, another's client prints.

Values and what becomes of them are literals (tests/support/values.py), read with each engine's own SQL and driver.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pantograph.pipeline import verification
from tests.routes.conftest import NAMED_DAILY, NAMED_ROUTES, RING, ROUTES, Pair, pair_of
from tests.routes.test_dead_letters import letters
from tests.routes.test_verify import QUICK, worked_out
from tests.servers import TestDatabase
from tests.servers.mssql import SQLServerDatabase
from tests.support.clients import Client
from tests.support.comparison import wait_until
from tests.support.values import BEFORE, COLUMNS, KEYS, REFUSED, Column

pair = pair_of([*ROUTES, *NAMED_ROUTES], [*RING, *NAMED_DAILY])

PRINTED = {
    "postgresql": {"text": "{}", "bytes": "encode({}, 'hex')", "float": "{}", "real": "{}",
                   "zoned": "cast({} at time zone 'UTC' as text)", "": "cast({} as text)"},
    "mysql": {"text": "{}", "json": "cast({} as char)", "bytes": "lower(hex({}))", "float": "{}",
              "real": "cast({} as double)", "bit": "cast({} + 0 as char)", "point": "st_astext({})",
              "": "cast({} as char)"},
    "sqlite": {"text": "{}", "json": "{}", "bytes": "iif({0} is null, null, lower(hex({0})))", "float": "{}",
               "real": "{}", "": "cast({} as text)"},
    "firebird": {"text": "{}", "json": "{}", "uuid": "{}", "other": "{}", "bytes": "{}", "float": "{}", "real": "{}",
                 "": "cast({} as varchar(100))"},
    "mssql": {"text": "{}", "json": "{}", "bytes": "{}", "float": "{}", "real": "{}",
              "uuid": "lower(cast({} as char(36)))",
              "zoned": "cast(cast(switchoffset({}, '+00:00') as datetime2(7)) as nvarchar(100))",
              "": "cast({} as nvarchar(100))"},
}  # fmt: skip
PRINTED["mariadb"] = PRINTED["mysql"]
"""How an engine is asked for a value's text, by kind; floats come as the driver has them."""


def _text(kind: str, value: Any) -> str | None:
    """The text of what a driver yields."""
    if value is None:
        return None
    if kind == "float":
        return repr(float(value))
    if kind == "real":
        return _short(float(value))
    if kind == "bytes" and not isinstance(value, str):
        return bytes(value).hex()
    if kind in ("moment", "zoned"):
        # Not every engine prints zeros at the end of a second.
        return re.sub(r"(\.\d*?)0+(?!\d)", lambda found: found[1].rstrip("."), str(value))
    return str(value)


def _short(value: float) -> str:
    """The shortest number that is this float of 32 bits."""
    if value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    bits = struct.pack("f", value)
    return next(
        repr(float(text)) for text in (f"{value:.{n}g}" for n in range(1, 18)) if _bits(float(text)) == bits
    )  # fmt: skip


def _bits(value: float) -> bytes:
    try:
        return struct.pack("f", value)
    except OverflowError:
        return b""


def printed(database: TestDatabase, table: str, columns: Sequence[Column]) -> dict[int, list[str | None]]:
    """By id: what the database prints of these columns."""
    client = Client(database, "superuser")
    try:
        how = PRINTED[database.dialect]
        picked = [how.get(column.kind, how[""]).format(client.q(column.name)) for column in columns]
        found = client.run(f"select {', '.join(['id', *picked])} from {client.q(table)}")
    finally:
        client.close()
    return {
        int(id_): [_text(column.kind, value) for column, value in zip(columns, values, strict=True)]
        for id_, *values in found
    }


def wait_printed(database: TestDatabase, table: str, columns: Sequence[Column], wanted: dict[int, list[Any]]) -> None:
    """Until the table holds exactly these rows; names the columns that differ."""

    def differing() -> list[Any]:
        found = printed(database, table, columns)
        if found.keys() != wanted.keys():
            return [("ids", sorted(found.keys() ^ wanted.keys()))]
        return [
            (id_, column.name, had[:80] if had else had, want[:80] if want else want)
            for id_, row in wanted.items()
            for column, had, want in zip(columns, found[id_], row, strict=True)
            if had != want
        ]

    last: list[list[Any]] = [[]]

    def equal() -> bool:
        last[0] = differing()
        return not last[0]

    try:
        wait_until(equal, f"the rows of {table}")
    except AssertionError as error:
        raise AssertionError(f"{table}: {last[0] or error}") from None


class Table:
    """A table of columns at the source, and the values of them that a destination holds."""

    def __init__(self, name: str, columns: Sequence[Column], destination: TestDatabase) -> None:
        self.name, self.columns = name, columns
        texts = [[column.printed(i, destination.dialect) for i in range(len(column.values))] for column in columns]
        if isinstance(destination, SQLServerDatabase) and not destination.server.holds_zeros():
            texts = [[REFUSED if text and "\0" in text else text for text in column] for column in texts]
        self.values = [
            [(literal, text) for (literal, _), text in zip(column.values, printed, strict=True) if text != REFUSED]
            for column, printed in zip(columns, texts, strict=True)
        ]
        self.length = max(len(v) for v, c in zip(self.values, columns, strict=True) if c.given) + 1
        self.wanted: dict[int, list[str | None]] = {}

    def create(self) -> str:
        return f"create table {self.name} (id int primary key, {_listed(self.columns)})"

    def literals(self, n: int) -> list[tuple[str, str]]:
        """The columns that are given, each with its n-th value, or NULL."""
        return [
            (column.name, values[n][0] if n < len(values) else "null")
            for column, values in zip(self.columns, self.values, strict=True)
            if column.given
        ]

    def texts(self, n: int) -> list[str | None]:
        return [values[n][1] if n < len(values) else None for values in self.values]

    def insert(self, pair: Pair, n: int, id_: int) -> None:
        names, given = zip(*self.literals(n), strict=True)
        pair.make(f"insert into {self.name} (id, {', '.join(names)}) values ({id_}, {', '.join(given)})")
        self.wanted[id_] = self.texts(n)

    def fill(self, pair: Pair, first: int = 1) -> None:
        for n in range(self.length):
            self.insert(pair, n, first + n)

    def turn(self, pair: Pair) -> None:
        """Every row gets the next one's values."""
        for n in range(self.length):
            there = (n + 1) % self.length
            sets = ", ".join(f"{name} = {literal}" for name, literal in self.literals(there))
            pair.make(f"update {self.name} set {sets} where id = {n + 1}")
            self.wanted[n + 1] = self.texts(there)

    def multiply(self, pair: Pair, times: int) -> None:
        """The rows again under other ids, more than go in a statement of their own."""
        names = ", ".join(column.name for column in self.columns if column.given)
        before = dict(self.wanted)
        with pair.app.transaction():
            for k in range(1, times + 1):
                pair.make(
                    f"insert into {self.name} (id, {names}) select id + {k * 1000}, {names} from {self.name} "
                    "where id < 1000"
                )
        for k in range(1, times + 1):
            self.wanted.update({id_ + k * 1000: list(texts) for id_, texts in before.items()})

    def check(self, pair: Pair, *, but: str = "") -> None:
        kept = [i for i, column in enumerate(self.columns) if column.name != but]
        wanted = {id_: [texts[i] for i in kept] for id_, texts in self.wanted.items()}
        wait_printed(pair.destination, self.name, [self.columns[i] for i in kept], wanted)


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(f"{column.name} {column.native}" for column in columns)


def _prepared(pair: Pair) -> list[Column]:
    pair.make(*BEFORE.get(pair.source.dialect, ()))
    if pair.source.dialect == "postgresql" and pair.destination.dialect == "postgresql":
        pair.destination.execute(BEFORE["postgresql"][0])
    return COLUMNS[pair.source.dialect]


def verified(pair: Pair, name: str) -> verification.Result:
    with worked_out(pair, name) as (source, target, mirror, owner):
        return verification.run(source, target, mirror, owner, keep_keys=True, pace=QUICK)


def test_a_value_of_every_type_arrives_and_is_no_difference(pair: Pair) -> None:
    there = pair.destination.dialect
    kinds = Table("kinds", [c for c in _prepared(pair) if there not in c.refused], pair.destination)
    pair.make(kinds.create())
    kinds.fill(pair)
    pair.start({"table": "kinds", "name": "kinds"}).wait_phase("Streaming", name="kinds")
    kinds.check(pair)
    kinds.turn(pair)
    kinds.fill(pair, 101)
    kinds.check(pair, but="n")
    kinds.multiply(pair, 4)
    kinds.check(pair, but="n")
    result = verified(pair, "kinds")
    assert result.equal, result
    assert result.rows == len(kinds.wanted)


def test_what_has_no_type_there_goes_as_the_manifest_says(pair: Pair) -> None:
    there = pair.destination.dialect
    columns = [c for c in _prepared(pair) if there in c.instead]
    if not columns:
        return  # all that this engine has has a type there
    table = Table("rounded", columns, pair.destination)
    pair.make(table.create())
    said = [c.instead[there] for c in columns]
    table.values = [
        [(literal, text) for (literal, _), text in zip(c.values, one.printed, strict=False)]
        for c, one in zip(columns, said, strict=True)
    ]
    table.length = max(map(len, table.values)) + 1
    table.fill(pair)
    asked = [
        {"expression": one.expression, "destination": c.name, "type": one.type}
        for c, one in zip(columns, said, strict=True)
    ]
    mirror = pair.start({"table": "rounded", "name": "rounded", "columns": [{"source": "id"}, *asked]})
    mirror.wait_phase("Streaming", name="rounded")
    table.check(pair)
    table.turn(pair)
    table.fill(pair, 101)
    table.check(pair)
    result = verified(pair, "rounded")
    assert result.equal, result


def test_what_has_no_type_there_is_refused_by_name_before_anything_is_copied(pair: Pair) -> None:
    there = pair.destination.dialect
    columns = [c for c in _prepared(pair) if there in c.refused]
    for column in columns:
        pair.make(f"create table no_{column.name} (id int primary key, {column.name} {column.native})")
        if column.values:
            pair.make(f"insert into no_{column.name} values (1, {column.values[0][0]})")
    if not columns:
        return
    pair.make("create table fine (id int primary key)", "insert into fine values (1)")
    mirror = pair.start("fine", *({"table": f"no_{c.name}", "name": f"no-{c.name}"} for c in columns))
    mirror.wait_phase("Streaming")
    for column in columns:
        seen = mirror.wait_phase("Failed", name=f"no-{column.name}")
        assert f"column {column.name}".lower() in seen.message.lower(), seen
        with pytest.raises(Exception, match=re.compile(f"no_{column.name}", re.IGNORECASE)):
            pair.destination.execute(f"select 1 from no_{column.name}", role="superuser")


def test_a_value_that_has_no_place_there_is_a_dead_letter_that_names_its_column(pair: Pair) -> None:
    there = pair.destination.dialect
    odd: dict[int, tuple[Column, str]] = {}
    columns = [c for c in _prepared(pair) if there not in c.refused]
    for column in columns:
        for i, (literal, _) in enumerate(column.values):
            if column.printed(i, there) == REFUSED:
                odd[len(odd) + 1] = (column, literal)
    if not odd:
        return
    columns = list({column.name: column for column, _ in odd.values()}.values())
    pair.make(f"create table odd (id int primary key, {_listed(columns)})", "insert into odd (id) values (0)")
    for id_, (column, literal) in odd.items():
        pair.make(f"insert into odd (id, {column.name}) values ({id_}, {literal})")
    mirror = pair.start({"table": "odd", "name": "odd", "onError": "DeadLetter"})
    mirror.wait_phase("Streaming", name="odd")
    held = printed(pair.destination, "odd", columns).keys() - {0}
    assert not [(odd[id_][0].name, odd[id_][1]) for id_ in held]
    _named(pair, odd)
    # In a turn as in a first copy: by themselves, and among many that are fine.
    for id_, (column, literal) in odd.items():
        pair.make(f"insert into odd (id, {column.name}) values ({100 + id_}, {literal})")
    wait_until(lambda: len(letters(pair)) == 2 * len(odd), "the dead letters of a turn")
    with pair.app.transaction():
        for id_, (column, literal) in odd.items():
            pair.make(f"insert into odd (id, {column.name}) values ({200 + id_}, {literal})")
        for n in range(100):
            pair.make(f"insert into odd (id) values ({1000 + n})")
    wait_until(lambda: len(letters(pair)) == 3 * len(odd), "the dead letters of a longer turn")
    _named(pair, {id_ + k: one for id_, one in odd.items() for k in (0, 100, 200)})
    assert printed(pair.destination, "odd", columns).keys() == {0, *range(1000, 1100)}


def _named(pair: Pair, odd: dict[int, tuple[Column, str]]) -> None:
    said = {id_: detail for id_, (detail, _) in letters(pair).items()}
    assert said.keys() == odd.keys()
    unnamed = {
        (column.name, literal, said[id_])
        for id_, (column, literal) in odd.items()
        # MariaDB calls the constraint that JSON is JSON by its column.
        if not re.search(rf"(column |refuses it: ){column.name}\b", said[id_], re.IGNORECASE)
    }
    assert not unnamed


def test_a_row_is_found_by_a_key_of_every_type(pair: Pair) -> None:
    there, q = pair.destination.dialect, ", ".join
    _prepared(pair)
    tables = {
        name: Table(
            name, [*columns, Column("v", "int", "number", [(str(n), str(n)) for n in range(9)])], pair.destination
        )
        for name, columns in KEYS[pair.source.dialect].items()
        if there not in columns[0].refused
    }
    counts = {name: len(table.values[0]) for name, table in tables.items()}

    def insert(table: Table, n: int) -> None:
        names, given = zip(*table.literals(n), strict=True)
        pair.make(f"insert into {table.name} (id, {q(names)}) values ({n}, {q(given)})")

    def where(table: Table, n: int) -> str:
        return " and ".join(f"{name} = {literal}" for name, literal in table.literals(n)[:-1])

    def check(rows: Callable[[Table], dict[int, list[str | None]]]) -> None:
        for table in tables.values():
            wait_printed(pair.destination, table.name, table.columns, rows(table))

    for table in tables.values():
        keys = [column.name for column in table.columns[:-1]]
        required = q(f"{column.name} {column.native} not null" for column in table.columns[:-1])
        pair.make(f"create table {table.name} (id int, {required}, v int, primary key ({q(keys)}))")
        for n in range(counts[table.name] - 1):
            insert(table, n)
    mirror = pair.start(*({"table": name, "name": name.replace("_", "-")} for name in tables))
    for name in tables:
        mirror.wait_phase("Streaming", name=name.replace("_", "-"))
    check(lambda table: {n: table.texts(n) for n in range(counts[table.name] - 1)})
    for table in tables.values():
        last = counts[table.name] - 1
        pair.make(f"update {table.name} set v = 77 where {where(table, 0)}")
        # A key becomes another one; and one goes, and comes back.
        sets = q(f"{name} = {literal}" for name, literal in table.literals(last)[:-1])
        pair.make(f"update {table.name} set {sets} where {where(table, 1)}")
        pair.make(f"delete from {table.name} where {where(table, last - 1)}") if last > 2 else None
    check(
        lambda table: {
            n: [*table.texts(counts[table.name] - 1 if n == 1 else n)[:-1], "77" if n == 0 else str(n)]
            for n in range(counts[table.name] - 1)
            if n != counts[table.name] - 2 or n < 2
        }
    )
    for name in tables:
        result = verified(pair, name.replace("_", "-"))
        assert result.equal, (name, result)


LONG = {
    "postgresql": ("text", "bytea", "repeat('é', 524288) || E'\\r\\n'", "decode(repeat('00ff10', {}), 'hex')"),
    "mysql": ("longtext", "longblob", "concat(repeat('é', 524288), '\\r\\n')", "repeat(x'00ff10', {})"),
    # From here they come as parameters.
    "sqlite": ("text", "blob", "", ""),
    "firebird": ("blob sub_type text character set utf8", "blob sub_type binary", "", ""),
    "mssql": ("nvarchar(max)", "varbinary(max)", "", ""),
}  # fmt: skip
LONG["mariadb"] = LONG["mysql"]
TEXT, THREE = "é" * 524288 + "\r\n", b"\x00\xff\x10"
MOST, HALF = 5592405, 3145728
"""Times three bytes: 16 MB, which is what MariaDB sends in one packet; and 9, whose digits are more than that."""


def _put(pair: Pair, sql: str, times: int) -> None:
    """A statement with `{t}`, a text, and `{y}`, bytes."""
    _, _, text, binary = LONG[pair.source.dialect]
    if pair.source.dialect in ("sqlite", "firebird", "mssql"):
        pair.app.run(sql.format(t="?", y="?"), TEXT, THREE * times)
    else:
        pair.make(sql.format(t=text, y=binary.format(times)))


@pytest.mark.night
def test_a_blob_of_16_mb_and_a_text_of_1_mb(pair: Pair) -> None:
    text, binary, *_ = LONG[pair.source.dialect]
    pair.make(f"create table longs (id int primary key, t {text}, y {binary})")
    _put(pair, "insert into longs values (1, {t}, {y})", MOST)
    pair.start({"table": "longs", "name": "longs"}).wait_phase("Streaming", name="longs", patience=60)
    _wait_long(pair, {1: MOST})
    _put(pair, "insert into longs values (2, {t}, {y})", HALF)
    _wait_long(pair, {1: MOST, 2: HALF})
    _put(pair, "update longs set t = {t}, y = {y} where id = 1", HALF)
    _wait_long(pair, {1: HALF, 2: HALF})
    result = verified(pair, "longs")
    assert result.equal, result


def _wait_long(pair: Pair, times: dict[int, int]) -> None:
    def there() -> bool:
        found = pair.destination.execute("select id, t, y from longs", role="superuser")
        return {id_: (t, bytes(y)) for id_, t, y in found} == {n: (TEXT, THREE * k) for n, k in times.items()}

    wait_until(there, f"{times}", 90)
