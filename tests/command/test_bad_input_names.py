"""Names in a manifest: they are written into every statement that is made (capture, the destination's table, our own
tables), and stay names whatever is in them."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantograph import dialects, errors
from pantograph.api import manifests
from pantograph.apply import prepare, sources
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role
from tests.support.source import Canary, fuzzed

each_engine = pytest.mark.parametrize("engine", ["pg_db", "my_db", "sqlite_db"])

NAME_PIECES = (
    "'", '"', "`", "[", "]", "\\", ";", "--", "/*", "*/", "#", "$$", "%", "%s", "%(a)s", ":", ":a", "?", "@", ".",
    "/", " ", "\n", "\t", "\r", "\0", "\x1a", "\u2028", "\ud800", "é", "ß", "ſ", "🙂", "a", "A", "select", "table",
    "canary", "drop table canary", "); drop table canary; --", '"; drop table canary; --',
    "`; drop table canary; -- ", "'); delete from canary; --", "pantograph", "x" * 30,
)  # fmt: skip
names = st.lists(st.sampled_from(NAME_PIECES), min_size=1, max_size=5).map("".join) | st.text(min_size=1, max_size=20)
PLACES = (
    "source table", "table", "column", "source column", "key", "schema", "captureSchema", "object", "database",
    "stream",
)  # fmt: skip


_numbers = itertools.count(1)


def _documents(here: Canary, place: str, name: str) -> list[dict]:
    database = here.database
    at = {"captureSchema": name} if place == "captureSchema" else {}
    at |= {"database": name} if place == "database" and database.dialect != "sqlite" else {}
    made = [*database.manifests("both", name="here", **at)]
    spec = {"databaseRef": {"name": "here"}, "table": name if place == "source table" else "orders"}
    spec |= {"schema": name} if place == "schema" else {}
    destination = {"databaseRef": {"name": "here"}, "table": name if place == "table" else f"made{next(_numbers)}"}
    reflection = {"sourceTableRef": {"name": "orders"}, "destination": destination}
    columns = [{"source": "id"}, {"source": "name"}]
    if place == "column":
        columns[1]["destination"] = name
    if place == "source column":
        columns[1]["source"] = name
    if place == "key":
        columns[0]["destination"] = name
        reflection["key"] = [{"source": "id", "destination": name}]
    reflection |= {"columns": columns} if place in ("column", "source column", "key") else {}
    reflection |= {"stream": name} if place == "stream" else {}
    head = {"apiVersion": "pantograph.dev/v1alpha1"}
    made.append(head | {"kind": "SourceTable", "metadata": {"name": "orders"}, "spec": spec})
    called = name if place == "object" else "orders"
    made.append(head | {"kind": "Reflection", "metadata": {"name": called}, "spec": reflection})
    return made


def _prepared(documents: list[dict]) -> list[errors.PantographError]:
    """All that `run` would do before rows move; what was refused."""
    wrong: list[errors.PantographError] = []
    try:
        found = manifests.from_text("---\n".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents))
    except errors.SpecErrors as error:
        return list(error.errors)
    for wanted in sources.wanted(found):
        report = prepare.Report()
        with contextlib.ExitStack() as stack:
            try:
                source = _session(stack, wanted.address)
                captured, _ = prepare.source(source, source.dialect, wanted.owner, wanted.tables, report, lease=60.0)
                for address, copies in wanted.copies.values():
                    target = _session(stack, address)
                    prepare.copies(target, target.dialect, source.dialect, wanted.owner, copies, captured, report)
            except errors.PantographError as error:
                wrong.append(error)
        wrong += {id(error): error for error in report.failed.values()}.values()
    return wrong


def _session(stack: contextlib.ExitStack, address) -> Session:
    session = Session(dialects.load(address), Role.ADMIN)
    stack.callback(session.close)
    return session


@pytest.mark.full
@each_engine
def test_no_name_gets_out(canary, engine):
    here = canary(engine)

    @fuzzed(120)
    @given(st.sampled_from(PLACES), names)
    def attack(place, name):
        for error in _prepared(_documents(here, place, name)):
            assert str(error)
            assert "\n" not in str(error), (place, name, error)
            assert not isinstance(error, errors.Bug)

    attack()
    for place in PLACES:
        for name in ("canary; drop table canary; --", *(f"a{quote}; drop table canary; --" for quote in "'\"`])")):
            _prepared(_documents(here, place, name))
    assert here.alive()
