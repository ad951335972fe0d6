"""Whatever the source committed fits the destination, which has constraints that the source does not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pantograph.pipeline.turn import Limits
from pantograph.reflector import streams
from tests.routes.conftest import ENGINES, NAMED, Pair
from tests.servers.mssql import NAMED_BY, SQLServerDatabase
from tests.support import mirrors
from tests.support.comparison import rows, wait_until

MakePair = Callable[[str, str], Pair]
FAMILY = {"parents": ("id", "name"), "children": ("id", "parent", "name")}
NO_CYCLE = "CyclicConstraints"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.5)


def _there(pair: Pair, *statements: str) -> None:
    """Tables at the destination, as the application that owns them makes them. TEXT: a text that may be unique."""
    text = "varchar(80)" if pair.destination.dialect in ("mysql", "mariadb", "firebird", "mssql") else "text"
    # These know no RESTRICT; what they do by themselves is the same.
    restrict = "on delete no action" if pair.destination.dialect in ("firebird", "mssql") else "on delete restrict"
    for sql in statements:
        pair.destination.execute(sql.replace("TEXT", text).replace("on delete restrict", restrict))
    if pair.destination.dialect == "postgresql":
        user = pair.destination.roles["destination"][0]  # type: ignore[attr-defined]
        pair.destination.execute(f'grant select, insert, update, delete on all tables in schema public to "{user}"')


def _family(pair: Pair, tie: str = "", unique: str = "") -> None:
    """Parents and children; tied at the destination only."""
    pair.make("create table parents (id int primary key, name varchar(20))")
    pair.make("create table children (id int primary key, parent int, name varchar(20))")
    pair.make("insert into parents values (1, 'p'), (2, 'q'), (3, 'r')")
    pair.make("insert into children values (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c'), (30, 3, 'd')")
    _there(
        pair,
        f"create table parents (id bigint primary key, name TEXT {unique})",
        "create table children (id bigint primary key, parent bigint, name TEXT, "
        f"foreign key (parent) references parents (id) {tie})",
    )


def _begin(pair: Pair, *tables: Any, count: int = 0) -> mirrors.Mirror:
    mirror = pair.start(*tables)
    wait_until(lambda: mirrors.in_step(pair.destination) == (count or len(tables)), "in their stream")
    return mirror


def _unharmed(mirror: mirrors.Mirror, *names: str) -> None:
    # Two first copies whose tables a foreign key ties may meet in a lock; one of them begins its turn anew.
    found = [mirror.seen(name).failures for name in names or ("t0",)]
    assert all(failures.keys() <= {"Contended"} for failures in found), found


def _noted(pair: Pair, reason: str) -> dict[Any, str]:
    found = pair.destination.execute(
        f"select key_values, detail from {mirrors.ours(pair.destination, 'keys')} where reason = '{reason}'",
        role="superuser",
    )
    return {json.loads(key)[0]: detail for key, detail in found}


def _last_at(pair: Pair, reason: str) -> float:
    """When a key was last noted for a reason, in seconds since the epoch; 0 where none is."""
    ((found,),) = pair.destination.execute(
        f"select max(last_at) from {mirrors.ours(pair.destination, 'keys')} where reason = '{reason}'",
        role="superuser",
    )
    return float(found or 0)


def _waits(pair: Pair) -> float:
    """Seconds between the last try of a dead letter and the next."""
    ((last, due),) = pair.destination.execute(
        f"select last_at, next_try from {mirrors.ours(pair.destination, 'keys')} where reason = 'dead'",
        role="superuser",
    )
    return float(due) - float(last)


def _age(pair: Pair, seconds: int) -> None:
    """As if all that is noted had been so for so much longer."""
    keys = mirrors.ours(pair.destination, "keys")
    pair.destination.execute(f"update {keys} set since = since - {seconds}", role="superuser")


def _image(pair: Pair) -> bool:
    ((state,),) = pair.destination.execute(
        f"select state from {mirrors.ours(pair.destination, 'checkpoints')} where name like 'stream/%'",
        role="superuser",
    )
    return bool(json.loads(state).get("image", True))


each_engine = pytest.mark.parametrize("engine", [*ENGINES, *NAMED])


# -- parents and children ----------------------------------------------------------------------------------------------


@each_engine
@pytest.mark.parametrize("tie", ["", "on delete cascade", "on delete restrict"])
def test_a_family_changes_in_one_transaction(make_pair: MakePair, engine: str, tie: str) -> None:
    """A child leaves a parent that goes; a parent's key changes and its children follow; a whole family goes."""
    pair = make_pair("sqlite", engine)
    _family(pair, tie)
    mirror = _begin(pair, *FAMILY)
    with pair.app.transaction():
        pair.make("insert into parents values (4, 's')", "update children set parent = 4 where id = 10")
        pair.make("update children set parent = 2 where id = 11", "delete from parents where id = 1")
    pair.wait_equal(**FAMILY)
    with pair.app.transaction():
        pair.make("update parents set id = 7 where id = 2", "update children set parent = 7 where parent = 2")
    pair.wait_equal(**FAMILY)
    with pair.app.transaction():
        pair.make("delete from children where parent = 7", "delete from parents where id = 7")
        pair.make("delete from parents where id = 3", "delete from children where parent = 3")
    pair.wait_equal(**FAMILY)
    assert len(rows(pair.destination, "children", ("id",))) == 1
    _unharmed(mirror, "t0", "t1")


@each_engine
def test_a_row_leaves_the_condition_and_comes_back_with_its_children(make_pair: MakePair, engine: str) -> None:
    """The children stay at the source, and have no event; at the destination they go and come with their parent."""
    pair = make_pair("sqlite", engine)
    _family(pair, "on delete cascade")
    _begin(pair, {"table": "parents", "where": "name <> 'draft'"}, "children")
    pair.make("update parents set name = 'draft' where id = 1")
    wait_until(lambda: len(rows(pair.destination, "children", ("id",))) == 2, "the family went")
    wait_until(lambda: set(_noted(pair, "parent")) == {10, 11}, "the children wait")
    pair.make("insert into children values (12, 1, 'late')")
    wait_until(lambda: set(_noted(pair, "parent")) == {10, 11, 12}, "another one waits")
    assert not _image(pair)
    pair.make("update parents set name = 'back' where id = 1")
    pair.wait_equal(**FAMILY)
    wait_until(lambda: not _noted(pair, "parent"), "nobody waits")


@each_engine
def test_rows_without_a_parent_wait_and_the_window_goes_on(make_pair: MakePair, engine: str) -> None:
    """Many of them, of many windows; with the parent they all come, also those that were tried in vain before."""
    pair = make_pair("sqlite", engine)
    _family(pair)
    mirror = _begin(pair, *FAMILY)
    with pair.app.transaction():
        for n in range(100, 700):
            pair.app.run("insert into children values (?, ?, 'x')", n, 3 if n % 2 else 50)
    wait_until(lambda: len(rows(pair.destination, "children", ("id",))) == 304, "those that have a parent")
    wait_until(lambda: len(_noted(pair, "parent")) == 300, "the others wait")
    assert all("parents" in detail for detail in _noted(pair, "parent").values())
    pair.make("insert into parents values (50, 'late')")
    pair.wait_equal(**FAMILY)
    wait_until(lambda: not _noted(pair, "parent"), "nobody waits")
    wait_until(lambda: _image(pair), "an image again", 10)
    _unharmed(mirror, "t0", "t1")


@each_engine
def test_first_copies_run_parents_first(make_pair: MakePair, engine: str) -> None:
    """However small the children are."""
    pair = make_pair("sqlite", engine)
    _family(pair)
    pair.make("insert into parents values " + ", ".join(f"({n}, 'x')" for n in range(100, 400)))
    pair.make("update children set parent = 399 where id = 10")
    pair.changes = {"limits": Limits(10, 1 << 20, 500_000)}
    mirror = pair.start("children", "parents")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "in their stream")
    assert mirror.seen("t0").parked == 0
    assert any("ParentsFirst" in message for message in mirror.messages)
    pair.wait_equal(**FAMILY)


@each_engine
@pytest.mark.parametrize("on_error", ["Stop", "DeadLetter"])
def test_a_parent_that_does_not_come_is_missing(
    make_pair: MakePair, engine: str, on_error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PARENT_PATIENCE", 1.0)
    pair = make_pair("sqlite", engine)
    _family(pair)
    mirror = _begin(pair, "parents", {"table": "children", "onError": on_error})
    pair.make("insert into children values (40, 99, 'x')")
    if on_error == "Stop":
        seen = mirror.wait_reason("ParentMissing", "t1")
        assert seen.phase == "Failed"
        assert "parents" in seen.message
        assert "99" not in seen.message
    else:
        wait_until(lambda: "ParentMissing" in _noted(pair, "dead").get(40, ""), "a dead letter")
        pair.make("insert into children values (41, 2, 'y')")
        wait_until(lambda: (41,) in rows(pair.destination, "children", ("id",)), "the next one")
        # It is tried with every parent that comes, and what is known of it is not said again.
        before = _last_at(pair, "dead")
        pair.make("insert into parents values (98, 'another')")
        wait_until(lambda: _last_at(pair, "dead") > before, "it was tried again, and is a dead letter still")
        assert _waits(pair) < 1000
        # The longer it has been one, the longer until it is tried again by itself: an hour at most.
        _age(pair, 86400)
        before = _last_at(pair, "dead")
        pair.make("insert into parents values (97, 'a third one')")
        wait_until(lambda: _last_at(pair, "dead") > before, "it was tried again")
        assert 3000 < _waits(pair) < 4000
    pair.make("insert into parents values (99, 'late')")
    pair.wait_equal(**FAMILY)
    wait_until(lambda: not _noted(pair, "dead"), "nothing is set aside")
    assert sum("DeadLetter: " in message for message in mirror.messages) == (on_error == "DeadLetter")


# -- rows that point at rows of their own table ------------------------------------------------------------------------

TREE = {"nodes": ("id", "up", "name")}


def _tree(pair: Pair, null: str = "") -> None:
    pair.make(f"create table nodes (id int primary key, up int {null}, name varchar(20))")
    pair.make("insert into nodes values (1, 1, 'root')")
    _there(
        pair,
        f"create table nodes (id bigint primary key, up bigint {null}, name TEXT, "
        "foreign key (up) references nodes (id))",
    )


@each_engine
@pytest.mark.parametrize("null", ["", "not null"])
def test_a_tree_grows_and_goes_in_one_transaction(make_pair: MakePair, engine: str, null: str) -> None:
    """The keys of the children are smaller than those of their parents; and the first copy meets them in that order."""
    pair = make_pair("sqlite", engine)
    _tree(pair, null)
    pair.make(*(f"insert into nodes values ({n}, {n - 1}, 'x')" for n in range(2, 6)))
    pair.make(
        *(f"insert into nodes values ({-n}, {-n - 1}, 'y')" for n in range(1, 5)),
        "insert into nodes values (-5, 5, 'y')",
    )
    mirror = _begin(pair, "nodes")
    pair.wait_equal(**TREE)
    with pair.app.transaction():
        pair.make(*(f"insert into nodes values ({n}, {n + 1}, 'z')" for n in range(100, 120)))
        pair.make("insert into nodes values (120, 1, 'top')")
    pair.wait_equal(**TREE)
    with pair.app.transaction():
        pair.make("update nodes set up = 1 where id = 110", "update nodes set up = 100 where id = 120")
        pair.make("update nodes set up = 110 where id = 119")
    pair.wait_equal(**TREE)
    with pair.app.transaction():
        pair.make("delete from nodes where id >= 100", "delete from nodes where id < 0")
    pair.wait_equal(**TREE)
    # Nobody had to wait for another window.
    assert mirror.seen().parked == 0
    _unharmed(mirror)


@each_engine
def test_rows_that_point_at_each_other(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _tree(pair)
    mirror = _begin(pair, "nodes")
    with pair.app.transaction():
        pair.make("insert into nodes values (2, 3, 'a'), (3, 4, 'b'), (4, 2, 'c')")
    pair.wait_equal(**TREE)
    with pair.app.transaction():
        pair.make("delete from nodes where id in (2, 3, 4)")
    pair.wait_equal(**TREE)
    _unharmed(mirror)


# -- tables that point at each other -----------------------------------------------------------------------------------

RING = {"firms": ("id", "head"), "staff": ("id", "firm")}
DEFERRED = "deferrable initially immediate"


def _ring(pair: Pair, null: str, deferrable: str = "") -> None:
    pair.make(f"create table firms (id int primary key, head int {null})")
    pair.make("create table staff (id int primary key, firm int not null)")
    with pair.app.transaction():
        pair.make("insert into firms values (1, 10)", "insert into staff values (10, 1), (11, 1)")
    _there(
        pair,
        f"create table firms (id bigint primary key, head bigint {null})",
        "create table staff (id bigint primary key, firm bigint not null, "
        f"constraint works foreign key (firm) references firms (id) {deferrable})",
    )
    if pair.destination.dialect != "sqlite":
        _there(pair, f"alter table firms add constraint heads foreign key (head) references staff (id) {deferrable}")
    else:
        _there(
            pair,
            "drop table firms",
            f"create table firms (id bigint primary key, head bigint {null}, foreign key (head) references staff (id))",
        )


@pytest.mark.parametrize(
    ("engine", "null", "deferrable"),
    [
        ("postgresql", "", ""),
        ("postgresql", "not null", DEFERRED),
        ("postgresql", "not null", "deferrable initially deferred"),
        ("mysql", "", ""),
        ("mariadb", "", ""),
        ("sqlite", "", ""),
        ("sqlite", "not null", ""),
    ],
)
def test_a_ring_of_two_tables(make_pair: MakePair, engine: str, null: str, deferrable: str) -> None:
    pair = make_pair("sqlite", engine)
    _ring(pair, null, deferrable)
    mirror = _begin(pair, *RING)
    pair.wait_equal(**RING)
    with pair.app.transaction():
        pair.make("insert into firms values (2, 20), (3, 30)", "insert into staff values (20, 2), (30, 3), (31, 2)")
    pair.wait_equal(**RING)
    with pair.app.transaction():
        pair.make("update firms set head = 20 where id = 3", "update firms set head = 31 where id = 2")
    pair.wait_equal(**RING)
    with pair.app.transaction():
        pair.make("delete from firms where id in (2, 3)", "delete from staff where firm in (2, 3)")
    pair.wait_equal(**RING)
    # One whose other half is missing waits, and takes nobody with it.
    with pair.app.transaction():
        pair.make("insert into firms values (4, 40), (5, 50)", "insert into staff values (40, 4), (60, 6)")
        pair.make("insert into firms values (7, 70)", "insert into staff values (70, 8)")
    wait_until(lambda: (4, 40) in rows(pair.destination, "firms", RING["firms"]), "the one that is whole")
    with pair.app.transaction():
        pair.make("insert into staff values (50, 5)", "insert into firms values (6, 60)")
        pair.make("insert into staff values (80, 8)", "insert into firms values (8, 80)")
    pair.wait_equal(**RING)
    _unharmed(mirror, "t0", "t1")


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mariadb"])
def test_a_ring_that_no_order_would_do_for_is_refused(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _ring(pair, "not null")
    mirror = pair.start(*RING)
    for name in ("t0", "t1"):
        seen = mirror.wait_reason(NO_CYCLE, name)
        assert "firms" in seen.message
        assert "staff" in seen.message
        assert "deferrable" in seen.message
    assert rows(pair.destination, "staff", RING["staff"]) == []


# -- unique values -----------------------------------------------------------------------------------------------------

PEOPLE = {"people": ("id", "mail", "n")}
POINTING = ["", "on delete cascade", "on delete restrict"]


def _people(pair: Pair, *, tie: str | None = None, null: str = "", more: str = "") -> None:
    """People with a mail address that is unique at the destination; `tie`: rows that point at them, which stay."""
    pair.make("create table people (id int primary key, mail varchar(20), n int)")
    pair.make("insert into people values " + ", ".join(f"({n}, 'm{n}', 0)" for n in range(1, 9)))
    _there(pair, f"create table people (id bigint primary key, mail TEXT {null} unique, n bigint {more})")
    if tie is not None:
        pair.make("create table notes (id int primary key, person int)")
        pair.make("insert into notes values " + ", ".join(f"({n}, {n})" for n in range(1, 9)))
        _there(
            pair,
            "create table notes (id bigint primary key, person bigint, "
            f"foreign key (person) references people (id) {tie})",
        )


def _swap(pair: Pair, ids: tuple[int, ...]) -> None:
    """Each takes the address of the next."""
    with pair.app.transaction():
        mails = [pair.app.value(f"select mail from people where id = {n}") for n in ids]
        for n, mail in zip(ids, (*mails[1:], mails[0]), strict=True):
            pair.app.run("update people set mail = ? where id = ?", mail, n)


def _exchangeable(pair: Pair) -> None:
    """NULL moves nothing aside where two of them are equal; there one UPDATE has to do it."""
    if isinstance(pair.destination, SQLServerDatabase) and not pair.destination.server.checks_at_the_end():
        pytest.skip(f"the server that {NAMED_BY} names checks unique keys row by row, as SQL Server does not")


@each_engine
@pytest.mark.parametrize("tie", [None, *POINTING])
def test_unique_values_change_hands(make_pair: MakePair, engine: str, tie: str | None) -> None:
    """Two swap them, three hand them round, one takes over what was another's, who goes or has moved on."""
    pair = make_pair("sqlite", engine)
    if tie is not None:
        _exchangeable(pair)
    _people(pair, tie=tie)
    tables = {**PEOPLE, **({} if tie is None else {"notes": ("id", "person")})}
    mirror = _begin(pair, *tables)
    _swap(pair, (1, 2))
    pair.wait_equal(**tables)
    _swap(pair, (5, 3, 4))
    pair.wait_equal(**tables)
    with pair.app.transaction():
        pair.make("update people set mail = 'new' where id = 8", "update people set mail = 'm8' where id = 6")
    pair.wait_equal(**tables)
    with pair.app.transaction():
        if tie is not None:
            pair.make("delete from notes where person = 7")
        pair.make("delete from people where id = 7", "insert into people values (0 - 7, 'm7', 1)")
    pair.wait_equal(**tables)
    _unharmed(mirror, *(f"t{n}" for n in range(len(tables))))


@each_engine
def test_a_value_that_cannot_be_moved_aside_is_said(make_pair: MakePair, engine: str) -> None:
    """Deleting and inserting would take rows along, and the column takes no NULL."""
    pair = make_pair("sqlite", engine)
    _people(pair, tie="on delete cascade", null="not null")
    tables = {**PEOPLE, "notes": ("id", "person")}
    mirror = _begin(pair, *tables)
    with pair.app.transaction():
        pair.make("delete from notes where person = 7", "delete from people where id = 7")
        pair.make("insert into people values (0 - 7, 'm7', 1)")
    pair.wait_equal(**tables)
    _unharmed(mirror, "t0", "t1")
    _swap(pair, (1, 2))
    wait_until(lambda: "cannot be moved aside" in mirror.seen().message, "it says so")
    assert len(rows(pair.destination, "notes", ("id",))) == 7
    # In two steps it can be done.
    pair.make("update people set mail = 'x' where id = 1")
    pair.wait_equal(**tables)
    pair.make("update people set mail = 'm2' where id = 1")
    pair.wait_equal(**tables)


@each_engine
def test_a_refused_row_among_those_that_swap_is_the_only_one_set_aside(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _people(pair, more=", check (n < 100)")
    _begin(pair, {"table": "people", "onError": "DeadLetter"})
    with pair.app.transaction():
        for one, mail in ((1, "m2"), (2, "m1"), (3, "m4"), (4, "m5"), (5, "m3")):
            pair.app.run("update people set mail = ?, n = 1 where id = ?", mail, one)
        pair.make("update people set n = 500 where id = 7")
    wait_until(lambda: set(_noted(pair, "dead")) == {7}, "the one")
    pair.make("update people set n = 5 where id = 7")
    pair.wait_equal(**PEOPLE)


@each_engine
def test_a_value_held_by_a_row_that_a_sweep_has_yet_to_come_to(make_pair: MakePair, engine: str) -> None:
    """Values changed hands while nobody noted it. Chunks of two rows meet what is in the way, and look it up."""
    pair = make_pair("sqlite", engine)
    _people(pair)
    pair.changes = {"limits": Limits(1, 1 << 20, 500_000)}
    _begin(pair, "people")
    pair.stop()
    for (name,) in pair.source.execute("select name from sqlite_master where type = 'trigger'"):
        pair.make(f"drop trigger {pair.app.q(name)}")
    _swap(pair, tuple(range(1, 9)))
    pair.make("delete from people where id = 8")
    pair.start()
    pair.wait_equal(**PEOPLE)


# -- keys that are equal to the destination ----------------------------------------------------------------------------


@each_engine
def test_a_key_that_changes_only_in_case(make_pair: MakePair, engine: str) -> None:
    """Where both ends take the old and the new key for the same one."""
    pair = make_pair(engine, engine)
    kind = {
        "postgresql": "citext",
        "mysql": "varchar(20) collate utf8mb4_general_ci",
        "mariadb": "varchar(20) collate utf8mb4_general_ci",
        "sqlite": "varchar(20) collate nocase",
        "firebird": "varchar(20) character set utf8 not null collate unicode_ci",
    }[engine]
    if engine == "postgresql":
        for database in (pair.source, pair.destination):
            database.execute("create extension if not exists citext", role="superuser")
    pair.make(f"create table words (word {kind}, n int, primary key (word))")
    pair.make("insert into words values ('apple', 1), ('Pear', 2)")
    mirror = _begin(pair, "words")
    pair.make("update words set word = 'Apple' where n = 1")
    pair.wait_equal(words=("word", "n"))
    with pair.app.transaction():
        pair.make("delete from words where n = 2", "insert into words values ('PEAR', 3)")
    pair.wait_equal(words=("word", "n"))
    assert {row[0] for row in rows(pair.destination, "words", ("word",))} == {"Apple", "PEAR"}
    _unharmed(mirror)


GENERAL = "utf8mb4_general_ci"
FINER = {
    "mariadb": [("utf8mb4_bin", GENERAL, "accents and case"), ("utf8mb4_general_nopad_ci", GENERAL, "trailing blanks"),
                (GENERAL, "utf8mb4_unicode_ci", "accents, of another collation")],
    "mysql": [("utf8mb4_bin", GENERAL, "accents and case"), ("utf8mb4_0900_ai_ci", GENERAL, "trailing blanks"),
              ("utf8mb4_0900_as_ci", "utf8mb4_0900_ai_ci", "accents")],
}  # fmt: skip
"""Collation of the source's key, of the destination's, and in what two keys may differ that are one there."""


@pytest.mark.parametrize(
    ("engine", "finer", "coarser", "by"), [(engine, *each) for engine, several in FINER.items() for each in several]
)
def test_keys_that_the_source_tells_apart_and_the_destination_does_not_are_refused(
    make_pair: MakePair, engine: str, finer: str, coarser: str, by: str
) -> None:
    """Both fold, the one more than the other: of two rows one would be there in the end, and nothing said."""
    pair = make_pair(engine, engine)
    pair.make(f"create table words (word varchar(20) collate {finer} primary key, n int)")
    pair.make("insert into words values ('apple', 1), ('pear', 2)")
    pair.destination.execute(f"create table words (word varchar(20) collate {coarser} primary key, n int)")
    mirror = pair.start("words")
    wait_until(lambda: f"takes texts for equal (by {by}) which" in mirror.seen().message, "a refusal")
    pair.stop()
    assert rows(pair.destination, "words", ("word",)) == []
    pair.destination.execute(f"alter table words modify word varchar(20) collate {finer}")
    pair.start()
    pair.wait_equal(words=("word", "n"))
