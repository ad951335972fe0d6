"""What goes when an object does: the capture with a SourceTable, the checkpoint with a Reflection, our tables with the
last of them. The rows that were copied stay.

Deleting works in any order. What an object needs to be taken away is the connection that its Database had: one that is
gone already, or whose Secret is, is remembered. A database that is merely down is waited for, until the annotation
`pantograph.dev/abandon` says that it is not to be.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pantograph import dialects, errors
from pantograph.api import base, conditions
from pantograph.api.manifests import Key
from pantograph.api.sourcetables import SourceTable
from pantograph.apply import execute, observe, removal
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.handlers.known import Entry, Group
from pantograph.model import names
from pantograph.reconcile.actions import RemoveCapture

if TYPE_CHECKING:
    from pantograph.handlers.outcomes import Outcome

REFLECTOR_STOPS = 30.0
"""Seconds that a reflector gets to notice that it is not to move a Reflection any more, and to say so."""
REFLECTOR_NOTICES = 3.0
GIVES_UP = 120.0
"""Seconds after which a database counts as gone that nobody knows a way to, or whose whole namespace is going."""
PATIENCE = 20.0


@dataclass(frozen=True)
class Doing:
    """What removing needs of the operator. address: of a Database by its key, remembered where it is not there."""

    installation: str
    owner: str
    address: Callable[[Key], Address | None]
    reflector_there: bool
    namespace_going: bool
    now: datetime
    sleep: Callable[[float], None]
    release: Callable[[Entry], None]
    say: Callable[[Entry, str, str], None]
    stop_reflector: Callable[[], bool]

    def age(self, one: Entry) -> float:
        """Seconds since somebody asked for an object to go."""
        asked = datetime.fromisoformat(one.body["metadata"]["deletionTimestamp"])
        return (self.now - asked).total_seconds()


def members(group: Group, outcome: Outcome, doing: Doing) -> None:
    """Take away what belongs to the members of a group that are to go, as far as it can be done now."""
    for kind, remove in (("Reflection", _reflection), ("SourceTable", _source_table), ("Database", _database)):
        for one in group.members:
            if one.kind != kind or not one.deleting or base.FINALIZER not in one.body["metadata"].get("finalizers", ()):
                continue
            try:
                remove(one, group, outcome, doing)
            except errors.CaptureOwned:
                outcome.gone.add((one.kind, one.key))  # what is there is another's, and stays
            except errors.PantographError as error:
                _not_now(one, error, outcome, doing)
            if (one.kind, one.key) in outcome.gone:
                doing.release(one)


def _not_now(one: Entry, error: errors.PantographError, outcome: Outcome, doing: Doing) -> None:
    """Wait, or give up and say what is left."""
    id_ = (one.kind, one.key)
    if one.annotations.get(base.ABANDON) == "true":
        why = "abandoned, as its annotation says"
    elif isinstance(error, _NoWay) and doing.age(one) > GIVES_UP:
        why = "nobody knows a way to its database any more"
    elif doing.namespace_going and isinstance(error, _AWAY) and doing.age(one) > GIVES_UP:
        why = "its namespace is going and its database cannot be reached"
    else:
        outcome.leaving[id_] = (
            f'{error}; the annotation {base.ABANDON}: "true" ends the wait and leaves there what is ours'
        )
        outcome.fail(one, error)
        return
    doing.say(one, "Abandoned", f"{why}; still to be done there: {_left(one, doing)}")
    outcome.gone.add(id_)


_AWAY = (errors.Unreachable, errors.Refused)
"""A server that is gone, or that lets us in no more."""


class _NoWay(errors.DependencyNotReady):
    """The Database or its Secret is gone, and its address is not remembered."""

    reason = "NoConnection"


@contextlib.contextmanager
def _connected(key: Key, doing: Doing) -> Iterator[tuple[Session, Dialect]]:
    address = doing.address(key)
    if address is None:
        raise _NoWay(f"Database {key[1]} or its Secret is gone, and nobody remembers how to connect to it")
    if address.path and not os.path.exists(address.path):
        raise _NoWay(
            f"{address.path} is a file that the operator does not see: mount its volume there into the operator's pod, "
            "or run `pantograph remove` where it is"
        )
    dialect = dialects.load(address)
    session = Session(dialect, Role.ADMIN)
    try:
        yield session, dialect
    finally:
        session.close()


def _reflection(one: Entry, group: Group, outcome: Outcome, doing: Doing) -> None:
    if not _still(one, doing):
        outcome.leaving[one.kind, one.key] = "waiting for the reflector to stop"
        return
    name = f"{one.key[0]}/{one.key[1]}"
    if group.key[1] and group.database is not None:
        with _connected(group.key, doing) as (session, dialect):
            if observe.has_home(session, dialect, "registrations"):
                removal.unregister(session, dialect, doing.owner, [name])
    destination = one.refers("destination", "databaseRef", "name")
    last = not any(
        other.refers("destination", "databaseRef", "name") == destination
        for other in (*group.reflections, *group.others)
        if other is not one and (other.kind, other.key) not in outcome.gone
    )
    with _connected((one.key[0], destination), doing) as (session, dialect):
        # Of whichever source: its SourceTable, which knows that, may be gone.
        for owner in removal.owners_of(session, dialect, name):
            if owner.startswith(f"{doing.installation}/{one.key[0]}/"):
                removal.forget_one(session, dialect, owner, name)
                if last:
                    removal.forget_streams(session, dialect, owner, destination)
        if last:
            for action in removal.home(session, dialect, [], removal.AT_DESTINATION):
                execute.run(session, dialect, action, patience=PATIENCE, sleep=doing.sleep)
    outcome.gone.add((one.kind, one.key))


def _still(one: Entry, doing: Doing) -> bool:
    """Whether nothing moves a Reflection any more, as far as that can be waited for."""
    return not doing.reflector_there or _stopped(one) or doing.age(one) > REFLECTOR_STOPS


def _stopped(one: Entry) -> bool:
    """Whether the reflector has said that it does not move it, or never began."""
    there = (one.body.get("status") or {}).get("conditions") or ()
    said = {condition["type"]: condition for condition in there}
    replicating = said.get(conditions.REPLICATING)
    if replicating is None:
        return str(said.get(conditions.PREPARED, {}).get("status")) != "True"
    return str(replicating["reason"]) == "Stopped"


def _source_table(one: Entry, group: Group, outcome: Outcome, doing: Doing) -> None:
    table = one.resource
    others = [other for other in group.tables if other is not one and (other.kind, other.key) not in outcome.gone]
    if isinstance(table, SourceTable) and table.spec.deletion_policy == "Orphan":
        outcome.gone.add((one.kind, one.key))
        return
    readers = [other for other in _of(one, group) if (other.kind, other.key) not in outcome.gone]
    if any(other.deleting for other in readers):
        outcome.leaving[one.kind, one.key] = "waiting for its Reflections, which are going too"
        return
    live = [other for other in others if not other.deleting]
    if not live and not doing.stop_reflector():
        outcome.leaving[one.kind, one.key] = "waiting for the reflector to end"
        return
    busy = any(not _stopped(other) for other in readers) and doing.age(one) < REFLECTOR_STOPS
    if live and doing.reflector_there and (busy or doing.age(one) < REFLECTOR_NOTICES):
        outcome.leaving[one.kind, one.key] = "waiting for the reflector to stop"
        return
    with _connected(group.key, doing) as (session, dialect):
        identity = names.capture_id(one.refers("schema") or dialect.default_schema, one.refers("table"))
        for action in removal.captures(session, dialect, doing.owner):
            if isinstance(action, RemoveCapture) and action.capture.id == identity:
                execute.run(session, dialect, action, patience=PATIENCE, sleep=doing.sleep)
        removal.unregister_capture(session, dialect, identity)
        if not live and not removal.captures(session, dialect, doing.owner):
            for action in removal.home(session, dialect, [doing.owner], removal.AT_SOURCE):
                execute.run(session, dialect, action, patience=PATIENCE, sleep=doing.sleep)
    outcome.gone.add((one.kind, one.key))


def _of(table: Entry, group: Group) -> list[Entry]:
    return [one for one in group.reflections if one.refers("sourceTableRef", "name") == table.key[1]]


def _database(one: Entry, group: Group, outcome: Outcome, doing: Doing) -> None:
    naming = [
        *group.tables,
        *(
            other
            for other in (*group.reflections, *group.others)
            if other.kind == "Reflection"
            and (other in group.reflections or other.refers("destination", "databaseRef", "name") == one.key[1])
        ),
    ]
    left = [other for other in naming if (other.kind, other.key) not in outcome.gone]
    if left and one.annotations.get(base.ABANDON) != "true":
        staying = [other.subject for other in left if not other.deleting]
        those = ", ".join(staying[:5] or [other.subject for other in left[:5]])
        outcome.leaving[one.kind, one.key] = (
            f"waiting for {those} to be deleted" if staying else f"waiting for {those}, which are going too"
        )
        return
    doing.stop_reflector()
    outcome.gone.add((one.kind, one.key))


def _left(one: Entry, doing: Doing) -> str:
    """What a person would have to run, as far as it can be told without a connection."""
    name = f"{one.key[0]}/{one.key[1]}"
    if one.kind == "Reflection":
        destination = doing.address((one.key[0], one.refers("destination", "databaseRef", "name")))
        ours: Mapping[str, str] = {}
        if destination is not None:
            dialect = dialects.load(destination)
            ours = {table: dialect.ours(table) for table in ("keys", "checkpoints")}
        return (
            f"at the destination: delete from {ours.get('keys', 'pantograph.keys')} where owner = '{doing.owner}' and "
            f"name = '{name}'; delete from {ours.get('checkpoints', 'pantograph.checkpoints')} where owner = "
            f"'{doing.owner}' and name = 'reflection/{name}'"
        )
    if one.kind == "SourceTable":
        table = ".".join(filter(None, (one.refers("schema"), one.refers("table"))))
        return (
            f"at the source: drop the triggers of {table} whose names begin with pantograph, and the tables of ours "
            "beside them; `pantograph remove` does it, given these manifests and --installation"
        )
    return "nothing, beside what its SourceTables and Reflections left"
