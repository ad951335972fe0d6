"""Random tables, random Reflections of them, a random life of the tables, and what the destination must then hold.

`World(seed)` decides everything from its seed. The model of a Reflection is a few Python functions over a source row,
written beside the SQL that the manifest gets; nothing here knows how the package goes about it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import decimal
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.servers import TestDatabase
from tests.support import comparison, mirrors
from tests.support.clients import ANY_CHARACTER, EXACT, FAMILY, Client

Row = dict[str, Any]
Value = Callable[[Row], Any]

COLUMNS = ("id", "part", "code", "grp", "qty", "price", "note")
DECLARED = (
    "id int not null, part {text}(3){binary} not null, code {text}(10){binary} not null, grp int, qty int not null, "
    "price decimal(10,2), note {text}(40)"
)
NOTES = (
    None,
    "",
    "draft",
    "plain",
    "it's",
    "back\\slash",
    "per%cent",
    "tab\there",
    "über",
    "two\nlines",
    ":colon",
    "☂",
)
WRITERS = 2


@dataclasses.dataclass(frozen=True)
class Table:
    """A source table. where_it_is: which source database."""

    name: str
    key: tuple[str, ...]
    where_it_is: int

    def create(self, dialect: str, name: str = "", unique: bool = True) -> list[str]:
        """The statements that make it."""
        columns = DECLARED.format(binary=EXACT.get(dialect, ""), text=ANY_CHARACTER.get(dialect, "varchar"))
        name = name or self.name
        # Firebird has no second key of the same columns.
        twice = dialect == "firebird" and self.key == ("code",)
        code = ", unique (code)" if unique and not twice else ""
        return [
            f"create table {name} ({columns}, primary key ({', '.join(self.key)}){code})",
            f"create index {name}_grp on {name} (grp, part)",
            f"create index {name}_id on {name} (id)",
        ]


@dataclasses.dataclass(frozen=True)
class Filled:
    """A column of a destination, as the manifest says it and as the model computes it."""

    name: str
    said: Mapping[str, Any]
    value: Value
    compared: bool = True


@dataclasses.dataclass(frozen=True)
class Reflected:
    """A Reflection. key: source columns that find a row, by destination column; constants: those of the key."""

    name: str
    table: Table
    to: str
    key: tuple[tuple[str, str], ...]
    columns: tuple[Filled, ...]
    constants: tuple[tuple[str, str], ...] = ()
    where: str = ""
    missing_row: str = "Insert"
    on_delete: str = "Delete"
    mark: str = ""
    stream: str = "default"
    listed: bool = True
    token: str = ""

    @property
    def contributes(self) -> bool:
        """Does it write into rows that another inserts?"""
        return self.missing_row != "Insert"

    def rows(self, source: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
        """What it writes, by key: of several source rows with one key, that with the greatest key of the source."""
        holds = WHERE[self.where]
        found: dict[tuple[Any, ...], Row] = {}
        for row in sorted(source, key=lambda row: tuple(row[name] for name in self.table.key)):
            key = tuple(row[name] for name, _ in self.key)
            if holds(row) and None not in key:
                constants = tuple(value for _, value in self.constants)
                found[(*key, *constants)] = {
                    c.name: comparison.normal(c.value(row)) for c in self.columns if c.compared
                }
        return found

    @property
    def data(self) -> list[str]:
        """The compared columns beside the key."""
        return [c.name for c in self.columns if c.compared and c.name not in self.key_columns]

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The destination's columns that find a row."""
        return (*(name for _, name in self.key), *(name for name, _ in self.constants))

    def manifest(self) -> dict[str, Any]:
        """The Reflection, and what `mirrors.documents` calls its table."""
        said: dict[str, Any] = {
            "destination": {"databaseRef": {"name": "to"}, "table": self.to, "existing": "Replace"},
            "missingRow": self.missing_row,
            "onDelete": self.on_delete,
            "stream": self.stream,
            "where": self.where,
            "resyncToken": self.token,
        }
        if self.listed:
            said["columns"] = [dict(column.said) for column in self.columns]
            said["columns"] += [{"value": value, "destination": name} for name, value in self.constants]
        if self.key_columns != self.table.key or any(a != b for a, b in self.key):
            said["key"] = [{"source": a, "destination": b} for a, b in self.key]
            said["key"] += [{"destination": name} for name, _ in self.constants]
        if self.mark:
            said["softDelete"] = {"column": self.mark}
        return said


WHERE: dict[str, Callable[[Row], bool]] = {
    "": lambda r: True,
    "qty > 30": lambda r: r["qty"] > 30,
    "grp is not null": lambda r: r["grp"] is not None,
    "note <> 'draft'": lambda r: r["note"] is not None and r["note"] != "draft",
    "price >= 10 or price is null": lambda r: r["price"] is None or r["price"] >= 10,
    f"qty in ({', '.join(map(str, range(0, 100, 2)))})": lambda r: r["qty"] % 2 == 0,
    "code like 'a%'": lambda r: r["code"].startswith("a"),
    "coalesce(grp, 0) <> 1": lambda r: r["grp"] != 1,
}

EXPRESSIONS: dict[str, list[tuple[str, Value]]] = {
    "bigint": [
        ("qty * 2 + 1", lambda r: r["qty"] * 2 + 1),
        ("coalesce(grp, -1)", lambda r: -1 if r["grp"] is None else r["grp"]),
        ("grp + qty", lambda r: None if r["grp"] is None else r["grp"] + r["qty"]),
        ("case when note is null then 1 end", lambda r: 1 if r["note"] is None else None),
    ],
    "varchar(40)": [
        ("case when qty > 50 then 'large' else 'small' end", lambda r: "large" if r["qty"] > 50 else "small"),
        ("upper(code)", lambda r: r["code"].upper()),
        ("coalesce(note, '(:none)')", lambda r: "(:none)" if r["note"] is None else r["note"]),
        ("nullif(note, 'draft')", lambda r: None if r["note"] == "draft" else r["note"]),
    ],
    "numeric(14,2)": [
        ("price * qty", lambda r: None if r["price"] is None else r["price"] * r["qty"]),
        ("coalesce(price, 0) + 0.25", lambda r: (r["price"] or 0) + decimal.Decimal("0.25")),
    ],
}


def same(name: str, to: str = "") -> Filled:
    """A column of the source under its own name, or another."""
    said = {"source": name, "destination": to} if to else {"source": name}
    return Filled(to or name, said, lambda row: row[name])


def computed(rng: random.Random, to: str, type_: str = "") -> Filled:
    """A column with one of the expressions."""
    type_ = type_ or rng.choice(list(EXPRESSIONS))
    sql, value = rng.choice(EXPRESSIONS[type_])
    return Filled(to, {"expression": sql, "destination": to, "type": type_}, value)


class World:
    """The tables and Reflections of a seed, and the rows there were at any time. databases: how many sources."""

    def __init__(
        self,
        seed: int,
        sources: Sequence[TestDatabase],
        destination: TestDatabase,
        streams: Sequence[str] = ("default", "default", "other"),
    ) -> None:
        self.seed, self.rng, self.streams = seed, random.Random(seed), streams
        self.sources, self.destination = sources, destination
        self.tables: list[Table] = []
        self.reflected: list[Reflected] = []
        self.before: list[str] = []
        self._number = 0
        for make in self.rng.sample([self._plain, self._by_rows, self._by_columns, self._by_columns], 2):
            make()
        # What was ever committed, by Reflection and key: rows that stay behind hold one of these.
        self.ever: dict[str, dict[tuple[Any, ...], list[Row]]] = {}

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def _text(self) -> str:
        """The destination's type of any characters."""
        return ANY_CHARACTER.get(self.destination.dialect, "varchar")

    def _table(self, at: int = 0) -> Table:
        key = self.rng.choice([("id",), ("id",), ("id", "part"), ("code",)])
        self.tables.append(Table(f"s{len(self.tables)}", key, at % len(self.sources)))
        return self.tables[-1]

    def _named(self) -> str:
        self._number += 1
        return f"r{self._number}"

    def _where(self) -> str:
        return self.rng.choice(["", *WHERE])

    def _stream(self) -> str:
        return self.rng.choice(self.streams)

    def _on_delete(self) -> str:
        return self.rng.choice(["Delete", "Delete", "Delete", "Ignore", "Mark", "SetNull"])

    def _key(self, table: Table) -> tuple[tuple[str, str], ...]:
        """How rows are found: the table's key, another one that is unique, or one that is not."""
        given = self.rng.choice([table.key, table.key, ("code",), ("grp",), ("id",), ("grp", "part")])
        renamed = self.rng.random() < 0.4
        return tuple((name, f"k_{name}" if renamed else name) for name in given)

    def _data(self, key: Sequence[tuple[str, str]], prefix: str = "") -> list[Filled]:
        """Columns beside the key, that may all be null: of the source, computed, constant."""
        taken = {source for source, _ in key}
        found: list[Filled] = []
        for name in COLUMNS:
            if name in taken or self.rng.random() < 0.4:
                continue
            found.append(same(name, f"{prefix}{name}" if prefix or self.rng.random() < 0.3 else ""))
        for n in range(self.rng.choice((0, 1, 2))):
            found.append(computed(self.rng, f"{prefix}e{n}"))
        if self.rng.random() < 0.2:
            found.append(Filled(f"{prefix}c", {"value": 7, "destination": f"{prefix}c"}, lambda row: 7))
        if self.rng.random() < 0.2:
            said = {"system": self.rng.choice(["operation", "appliedAt", "sourceTime"]), "destination": f"{prefix}sys"}
            found.append(Filled(f"{prefix}sys", said, lambda row: None, compared=False))
        return found or [computed(self.rng, f"{prefix}e0")]

    def _plain(self) -> None:
        """A table mirrored as it is, into one that the user made, with the unique keys of the source or without."""
        table = self._table()
        to = f"d{len(self.tables)}"
        on_delete = self.rng.choice(["Delete", "Delete", "Ignore", "Mark"])
        if self.rng.random() < 0.6:
            made = table.create(self.destination.dialect, to, unique=on_delete == "Delete")
            # SQLite's integers are of 64 bits.
            self.before += [sql.replace(" int", " bigint") for sql in made]
        self.reflected.append(
            Reflected(
                self._named(), table, to, tuple((name, name) for name in table.key), tuple(map(same, COLUMNS)),
                where=self._where(), on_delete=on_delete, mark="gone" if on_delete == "Mark" else "",
                stream=self._stream(), listed=False,
            )
        )  # fmt: skip

    def _owner(self, table: Table, to: str, key: tuple[tuple[str, str], ...], constant: str = "") -> Reflected:
        on_delete = self._on_delete()
        data = self._data(key)
        if on_delete == "SetNull":
            # Where the table is made for it, a column is as nullable as its source is.
            data = [c for c in data if c.said.get("source") in (None, "grp", "price", "note")]
            data = data or [computed(self.rng, "e0")]
        return Reflected(
            self._named(), table, to, key, (*(same(a, b) for a, b in key), *data),
            constants=(("region", constant),) if constant else (),
            where=self._where(), on_delete=on_delete, mark="gone" if on_delete == "Mark" else "",
            stream=self._stream(),
        )  # fmt: skip

    def _by_rows(self) -> None:
        """Two tables, perhaps of two databases, are rows of one; or one table twice, under two conditions."""
        one = self._table()
        two = self.rng.choice([one, self._table(1)])
        to = f"d{len(self.tables)}"
        key = self._key(one)
        first = self._owner(one, to, key, "eu")
        self.reflected.append(first)
        self.reflected.append(
            dataclasses.replace(
                first, name=self._named(), table=two, constants=(("region", "us"),), where=self._where(),
                stream=self._stream(),
            )
        )  # fmt: skip
        if self.rng.random() < 0.4:
            self._contribute(first)

    def _by_columns(self) -> None:
        """One table inserts the rows, others add columns."""
        table = self._table()
        to = f"d{len(self.tables)}"
        key = ("id", self.rng.choice(["id", "nr"])) if "part" not in table.key else ("grp", "grp")
        key = self.rng.choice([key, ("code", "code")]) if "part" not in table.key else key
        owner = self._owner(table, to, (key,))
        if owner.on_delete == "Delete" and self.rng.random() < 0.4 and table.key == ("id",):
            # A table of the user's, whose unique key makes rows go and come within a turn.
            columns = (same("id"), same("code"), same("grp"), same("note"))
            owner = dataclasses.replace(owner, key=(("id", "id"),), columns=columns)
            binary = EXACT.get(self.destination.dialect, "")
            self.before.append(
                f"create table {to} (id bigint primary key, code {self._text}(10){binary} unique, grp bigint, "
                f"note {self._text}(40))"
            )
        self.reflected.append(owner)
        self._contribute(owner)
        if self.rng.random() < 0.3:
            self._contribute(owner)

    def _contribute(self, owner: Reflected) -> None:
        if len(owner.key) != 1:
            return
        ((found_by, destination),) = owner.key
        table = self.rng.choice([self._table(1), owner.table])
        source = "code" if found_by == "code" else self.rng.choice(["id", "grp"])
        name = self._named()
        on_delete = self.rng.choice(["SetNull", "SetNull", "SetNull", "Ignore"])
        key = ((source, destination),)
        data = self._data(key, f"{name}_")
        if on_delete == "SetNull":
            data = [c for c in data if "system" not in c.said] or [computed(self.rng, f"{name}_e0")]
        self.reflected.append(
            Reflected(
                name, table, owner.to, key, (same(source, destination), *data), constants=owner.constants,
                where=self._where(), missing_row=self.rng.choice(["Wait", "Wait", "Ignore"]), on_delete=on_delete,
                stream=self._stream(),
            )
        )  # fmt: skip

    def create(self) -> None:
        """Make the tables, with some rows in them."""
        for sql in self.before:
            self.destination.execute(sql, role="destination")
        for database in self.sources:
            client = Client(database)
            for table in self.tables:
                if self.sources[table.where_it_is] is database:
                    for sql in table.create(database.dialect):
                        client.run(sql)
                    writer = Writer(self, client, 0)
                    for _ in range(self.rng.choice((0, 3, 6))):
                        writer.insert(table)
            client.close()
        self.remember()

    def documents(self) -> list[dict[str, Any]]:
        """The manifests as they are now: those of the first source come first."""
        made = self.destination.manifests("destination", name="to")
        for n, database in enumerate(self.sources):
            made += database.manifests("source", name=f"from{n}")
        for table in self.tables:
            spec = {"databaseRef": {"name": f"from{table.where_it_is}"}, "table": table.name}
            made.append(
                {"apiVersion": mirrors.API, "kind": "SourceTable", "metadata": {"name": table.name}, "spec": spec}
            )
        for one in self.reflected:
            metadata = {"name": one.name, "annotations": {"pantograph.dev/allow-deletes": "100000"}}
            spec = {"sourceTableRef": {"name": one.table.name}, **one.manifest()}
            for column in spec.get("columns", ()):
                if "type" in column:
                    column["type"] = column["type"].replace("varchar", self._text)
            made.append({"apiVersion": mirrors.API, "kind": "Reflection", "metadata": metadata, "spec": spec})
        return made

    def edit(self) -> str:
        """Change one Reflection: what it copies, or that it is copied again."""
        n = self.rng.randrange(len(self.reflected))
        one = self.reflected[n]
        if self.rng.random() < 0.4:
            self.reflected[n] = dataclasses.replace(one, token=str(self.rng.random()))
            return f"resync {one.name}"
        columns = [computed(self.rng, c.name, c.said["type"]) if "expression" in c.said else c for c in one.columns]
        self.reflected[n] = dataclasses.replace(one, where=self._where(), columns=tuple(columns))
        self.remember()
        return f"edit {one.name}"

    # -- what there must be ------------------------------------------------------------------------------------------

    def now(self) -> dict[str, list[Row]]:
        """The source rows, by table, as others see them."""
        found = {}
        for table in self.tables:
            picked = self.sources[table.where_it_is].execute(
                f"select {', '.join(COLUMNS)} from {table.name}", "superuser"
            )
            found[table.name] = [
                {**dict(zip(COLUMNS, row, strict=True)), "price": _exact(row[COLUMNS.index("price")])} for row in picked
            ]
        return found

    def remember(self) -> None:
        """A transaction was committed, or a mapping changed: note what the Reflections write now."""
        there = self.now()
        for one in self.reflected:
            kept = self.ever.setdefault(one.name, {})
            for key, row in one.rows(there[one.table.name]).items():
                versions = kept.setdefault(key, [])
                if row not in versions:
                    versions.append(row)

    def wrong(self) -> str:
        """What the destination holds and should not, or the other way round; "" when all is as the model says."""
        there = self.now()
        for to in dict.fromkeys(one.to for one in self.reflected):
            writers = [one for one in self.reflected if one.to == to]
            found = next((text for text in self._wrong(writers, there) if text), "")
            if found:
                return found
        return ""

    def _wrong(self, writers: Sequence[Reflected], there: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        owners = [one for one in writers if not one.contributes]
        key = owners[0].key_columns
        names = list(dict.fromkeys([*key, *(n for one in writers for n in one.data), *filter(None, [owners[0].mark])]))
        held = {}
        for values in comparison.rows(self.destination, owners[0].to, names):
            row = dict(zip(names, values, strict=True))
            held[tuple(row[name] for name in key)] = row
        for one in owners:
            mine = {k: row for k, row in held.items() if k[len(one.key) :] == tuple(v for _, v in one.constants)}
            yield self._wrong_rows(one, one.rows(there[one.table.name]), mine)
        strangers = [
            k for k in held if k[len(owners[0].key) :] not in {tuple(v for _, v in o.constants) for o in owners}
        ]
        yield f"{owners[0].to}: nobody's rows {strangers}" if strangers else ""
        for one in writers:
            if one.contributes:
                yield self._wrong_columns(one, one.rows(there[one.table.name]), held)

    def _wrong_rows(self, one: Reflected, wanted: Mapping[Any, Row], held: Mapping[Any, Row]) -> str:
        label = f"{one.to} by {one.name} ({one.on_delete})"
        for key, row in wanted.items():
            if key not in held:
                return f"{label}: {key} is missing: {row}"
            differs = {name: (row[name], held[key][name]) for name in one.data if row[name] != held[key][name]}
            if differs:
                return f"{label}: {key} differs (wanted, found): {differs}"
            if one.mark and held[key][one.mark] is not None:
                return f"{label}: {key} is marked"
        for key in held.keys() - wanted.keys():
            if one.on_delete == "Delete":
                return f"{label}: {key} is too much: {held[key]}"
            left = {name: held[key][name] for name in one.data}
            versions = [{name: row[name] for name in one.data} for row in self.ever[one.name].get(key, [])]
            if not versions:
                return f"{label}: {key} never was: {held[key]}"
            if one.on_delete == "SetNull":
                if any(value is not None for value in left.values()):
                    return f"{label}: {key} is not emptied: {left}"
            elif left not in versions:
                return f"{label}: {key} never was like this: {left}; but {versions}"
            if one.mark and held[key][one.mark] is None:
                return f"{label}: {key} is not marked"
        return ""

    def _wrong_columns(self, one: Reflected, wanted: Mapping[Any, Row], held: Mapping[Any, Row]) -> str:
        label = f"{one.to} by {one.name} ({one.missing_row}, {one.on_delete})"
        nothing = dict.fromkeys(one.data)
        for key, row in held.items():
            if key[len(one.key) :] != tuple(value for _, value in one.constants):
                left = {name: row[name] for name in one.data}
                if left != nothing:
                    return f"{label}: wrote {key}, which is another's: {left}"
                continue
            found = {name: row[name] for name in one.data}
            fine = []
            if key in wanted:
                fine.append({name: wanted[key][name] for name in one.data})
            if key not in wanted or one.missing_row == "Ignore":
                fine.append(nothing)
                if one.on_delete == "Ignore" and key not in wanted:
                    fine += [{n: version[n] for n in one.data} for version in self.ever[one.name].get(key, [])]
            if found not in fine:
                return f"{label}: {key} holds {found}, which is none of {fine}"
        return ""


def _exact(value: Any) -> Any:
    return value if value is None else decimal.Decimal(str(value))


class Writer:
    """A writer of the application: keys and codes of its own, so that two of them do not wait for each other."""

    def __init__(self, world: World, client: Client, number: int) -> None:
        self.world, self.rng, self.client, self.number = world, world.rng, client, number
        self.letter = "ab"[number]
        self.open = False
        # Whoever waits for another writer here waits for itself: both are moved by one thread.
        if client.dialect in FAMILY:
            client.run("set session innodb_lock_wait_timeout = 1")
            client.run("set session transaction isolation level read committed")
        elif client.dialect == "postgresql":
            client.run("set lock_timeout = '2s'")
        elif client.dialect == "firebird":
            client.raw.lock_timeout = 1
        elif client.dialect == "mssql":
            client.run("set lock_timeout 1000")

    def begin(self) -> None:
        if not self.open:
            self.client.begin()
            self.open = True

    def end(self, how: str) -> None:
        """Commit or roll back, if there is anything."""
        if self.open:
            self.open = False
            self.client.run(how)

    # -- one change --------------------------------------------------------------------------------------------------

    def act(self, table: Table) -> str:
        """Something at random; what."""
        kinds = ["insert", "insert", "update", "update", "update", "delete", "move", "swap", "swap_codes", "take"]
        kind = self.rng.choice([*kinds, "replace", "touch_all", "clear", "regroup"])
        getattr(self, kind)(table)
        return f"{self.number}:{kind} {table.name}"

    def _mine(self, table: Table) -> list[Row]:
        found = self.client.run(
            f"select {', '.join(COLUMNS)} from {table.name} where code like '{self.letter}%' order by code"
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def _free_key(self, mine: Sequence[Row]) -> tuple[int, str] | None:
        taken = {(row["id"], row["part"]) for row in mine}
        ids = {row["id"] for row in mine}
        free = [(n + 100 * self.number, part) for n in range(6) for part in ("x", "y")]
        # Where only the id is the key, no two have the same.
        free = [key for key in free if key not in taken and key[0] not in ids]
        return self.rng.choice(free) if free else None

    def _free_code(self, mine: Sequence[Row]) -> str:
        taken = {row["code"] for row in mine}
        return self.rng.choice([code for n in range(14) if (code := f"{self.letter}{n:02d}") not in taken])

    def _values(self) -> Row:
        rng = self.rng
        return {
            "grp": rng.choice([None, 0, 1, 2, 3, 100, 101]),
            "qty": rng.randint(0, 99),
            "price": rng.choice([None, "0.25", "3.50", "10.00", "99.75"]),
            "note": rng.choice(NOTES),
        }

    def _find(self, table: Table, row: Row) -> tuple[str, list[Any]]:
        return " and ".join(f"{name} = ?" for name in table.key), [row[name] for name in table.key]

    def _set(self, table: Table, row: Row, **values: Any) -> None:
        where, found = self._find(table, row)
        sets = ", ".join(f"{name} = ?" for name in values)
        self.client.run(f"update {table.name} set {sets} where {where}", *values.values(), *found)

    def insert(self, table: Table) -> None:
        mine = self._mine(table)
        key = self._free_key(mine)
        if key is not None:
            self._put(table, {"id": key[0], "part": key[1], "code": self._free_code(mine), **self._values()})

    def _put(self, table: Table, row: Row) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        self.client.run(
            f"insert into {table.name} ({', '.join(COLUMNS)}) values ({marks})", *(row[name] for name in COLUMNS)
        )

    def _some(self, table: Table, count: int) -> list[Row]:
        mine = self._mine(table)
        return self.rng.sample(mine, count) if len(mine) >= count else []

    def update(self, table: Table) -> None:
        for row in self._some(table, 1):
            values = self._values()
            names = self.rng.sample(sorted(values), self.rng.randint(1, 3))
            self._set(table, row, **{name: values[name] for name in names})

    def delete(self, table: Table) -> None:
        for row in self._some(table, 1):
            where, found = self._find(table, row)
            self.client.run(f"delete from {table.name} where {where}", *found)

    def move(self, table: Table) -> None:
        mine = self._mine(table)
        key = self._free_key(mine)
        if mine and key is not None:
            row = self.rng.choice(mine)
            if "code" in table.key:
                self._set(table, row, code=self._free_code(mine))
            else:
                self._set(table, row, id=key[0], part=key[1])

    def swap(self, table: Table) -> None:
        """Two rows change their keys."""
        for one, two in [self._some(table, 2)] if len(self._mine(table)) >= 2 else []:
            names = [name for name in table.key if name != "code"]
            if not names:
                self.swap_codes(table)
                continue
            self._set(table, one, id=-1 - self.number)
            self._set(table, two, **{name: one[name] for name in names})
            self._set(table, {**one, "id": -1 - self.number}, **{name: two[name] for name in names})

    def swap_codes(self, table: Table) -> None:
        """Two rows change a unique value."""
        for one, two in [self._some(table, 2)] if len(self._mine(table)) >= 2 else []:
            between = f"{self.letter}~"
            self._set(table, one, code=between)
            self._set(table, two, code=one["code"])
            self._set(table, {**one, "code": between}, code=two["code"])

    def take(self, table: Table) -> None:
        """A row goes, and another has its unique value."""
        for one, two in [self._some(table, 2)] if len(self._mine(table)) >= 2 else []:
            where, found = self._find(table, one)
            self.client.run(f"delete from {table.name} where {where}", *found)
            self._set(table, two, code=one["code"])

    def replace(self, table: Table) -> None:
        """A row goes, and another of the same key comes."""
        for row in self._some(table, 1):
            where, found = self._find(table, row)
            self.client.run(f"delete from {table.name} where {where}", *found)
            self._put(table, {**row, **self._values()})

    def touch_all(self, table: Table) -> None:
        self.client.run(f"update {table.name} set qty = qty + 1 where code like '{self.letter}%' and qty < 99")

    def regroup(self, table: Table) -> None:
        grp = self._values()["grp"]
        self.client.run(f"update {table.name} set grp = ? where code like '{self.letter}%'", grp)

    def clear(self, table: Table) -> None:
        self.client.run(f"delete from {table.name} where code like '{self.letter}%'")

    def truncate(self, table: Table) -> None:
        self.client.run(f"truncate {table.name}")

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.client.rollback()
        self.client.close()
