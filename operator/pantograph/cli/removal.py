"""`pantograph remove`: takes away all that is ours from the databases that the files name, and looks whether it is."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pantograph import dialects, errors
from pantograph.api.manifests import Manifests
from pantograph.apply import execute, observe, removal
from pantograph.cli import files, outcomes, terminal
from pantograph.cli.outcomes import Status
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Dialect, Role
from pantograph.model import names
from pantograph.reconcile.actions import Action

STILL_RUNNING = 150.0
"""A nonce is written every minute: one that is younger than two of them may be of a reflector that still runs."""
COMES_BACK = 4.0
"""A reflector that runs on notices within a second or two that its capture is gone, and installs it again."""


@dataclass(frozen=True)
class Place:
    """A database that may hold something of ours. owner: of the capture in it."""

    name: str
    address: Address
    owner: str


@dataclass
class Found:
    """What is there to be taken away."""

    place: Place
    captures: list[Action]
    checkpoints: int
    keys: int
    home: bool
    heartbeat: float | None

    @property
    def anything(self) -> bool:
        """Is there anything?"""
        return bool(self.captures or self.checkpoints or self.keys or self.home)


def run(paths: Sequence[str], *, installation: str, namespace: str, yes: bool, orphans: bool = False) -> Status:
    """Look, ask, take away, look again."""
    manifests = files.load(paths, namespace)
    places = _places(manifests, installation)
    if orphans:
        return _orphans(manifests, places, yes=yes)
    owners = {place.owner for place in places}
    found, failed = [], Status.DONE
    for place in places:
        try:
            found.append(_look(place, owners))
        except errors.PantographError as error:
            terminal.complain(f"Database {place.name}: {error}")
            failed = outcomes.status_of(error)
    found = [one for one in found if one.anything]
    if not found:
        if failed is Status.DONE:
            print("Nothing of Pantograph's is there.")
        return failed
    for one in found:
        print(_told(one))
    if not yes and not _agreed():
        return Status.FAILED
    for one in found:
        try:
            left = _remove(one, owners)
        except errors.PantographError as error:
            terminal.complain(f"Database {one.place.name}: {error}")
            failed = outcomes.status_of(error)
            continue
        if left:
            running = " A `pantograph run` may still be going: stop it, then remove again." if one.heartbeat else ""
            terminal.complain(f"Database {one.place.name}: still there: {', '.join(left)}.{running}")
            failed = Status.FAILED
        else:
            print(f"Database {one.place.name}: nothing of Pantograph's is left.")
    return failed


def _orphans(manifests: Manifests, places: Sequence[Place], *, yes: bool) -> Status:
    """Take away only what belongs to SourceTables and Reflections that no manifest names any more."""
    owners = {place.owner for place in places}
    reflections = {f"{one.namespace}/{one.name}" for one in manifests.reflections.values()}
    found: list[tuple[Place, list[Action], list[str], list[tuple[str, str]]]] = []
    worst = Status.DONE
    for place in places:
        try:
            opened = _session(place)
            if opened is None:
                continue
            dialect, session = opened
            with contextlib.closing(session):
                tables = {
                    names.capture_id(table.spec.schema_ or dialect.default_schema, table.spec.table)
                    for table in manifests.source_tables.values()
                    if f"{table.namespace}/{table.spec.database_ref.name}" == place.owner.partition("/")[2]
                }
                captures, registered = removal.orphans_at_source(session, dialect, place.owner, tables, reflections)
                left = removal.orphans_at_destination(session, dialect, owners, reflections)
            if captures or registered or left:
                found.append((place, captures, registered, left))
        except errors.PantographError as error:
            terminal.complain(f"Database {place.name}: {error}")
            worst = outcomes.status_of(error)
    if not found:
        if worst is Status.DONE:
            print("Nothing is there that no manifest names.")
        return worst
    for place, captures, registered, left in found:
        print(f"Database {place.name} ({place.address.label}):")
        for action in captures:
            print(f"  {action.summary}")
        for name in registered:
            print(f"  keep no events for Reflection {terminal.short(name)}")
        for _, name in left:
            print(f"  forget how far Reflection {terminal.short(name)} was")
    if not yes and not _agreed():
        return Status.FAILED
    log = terminal.Log()
    for place, captures, registered, left in found:
        try:
            opened = _session(place)
            assert opened is not None
            dialect, session = opened
            with contextlib.closing(session):
                for action in captures:
                    execute.run(session, dialect, action, waiting=lambda text: log.event("waited", message=text))
                removal.unregister(session, dialect, place.owner, registered)
                for owner, name in left:
                    removal.forget_one(session, dialect, owner, name)
            print(f"Database {place.name}: done.")
        except errors.PantographError as error:
            terminal.complain(f"Database {place.name}: {error}")
            worst = outcomes.status_of(error)
    return worst


def _places(manifests: Manifests, installation: str) -> list[Place]:
    """Sources first: while a capture is there, events are noted for somebody who does not come."""
    ordered = sorted(manifests.databases.values(), key=lambda d: (not manifests.source_tables_of(d), d.key))
    return [
        Place(database.name, address(manifests, database), f"{installation}/{database.namespace}/{database.name}")
        for database in ordered
    ]


def _session(place: Place) -> tuple[Dialect, Session] | None:
    """A session, or None for a file that is not there: it holds nothing, and opening it would make it."""
    if place.address.path and not os.path.exists(place.address.path):
        return None
    dialect = dialects.load(place.address)
    return dialect, Session(dialect, Role.ADMIN)


def _look(place: Place, owners: set[str]) -> Found:
    opened = _session(place)
    if opened is None:
        return Found(place, [], 0, 0, False, None)
    dialect, session = opened
    try:
        captures = removal.captures(session, dialect, place.owner)
        checkpoints, keys = removal.checkpoints_of(session, dialect, owners)
        home = bool(removal.home(session, dialect, owners))
        beat = observe.heartbeat(session, dialect) if observe.has_home(session, dialect, "control") else None
    finally:
        session.close()
    return Found(place, captures, checkpoints, keys, home, beat if beat is not None and beat < STILL_RUNNING else None)


def _told(found: Found) -> str:
    lines = [f"Database {found.place.name} ({found.place.address.label}):"]
    lines += [f"  {action.summary}" for action in found.captures]
    if found.checkpoints or found.keys:
        lines.append(f"  delete {found.checkpoints} checkpoints and {found.keys} noted keys")
    if found.home:
        lines.append("  drop the tables that Pantograph made for itself")
    if found.heartbeat is not None:
        age = terminal.span(found.heartbeat)
        lines.append(f"  (it was being read {age} ago: stop a `pantograph run` that is still going first)")
    return "\n".join(lines)


def _agreed() -> bool:
    print("The rows of your tables stay as they are, at the source and at the destination.", flush=True)
    if not sys.stdin.isatty():
        raise errors.SpecError("nothing was removed: there is nobody to ask; say --yes")
    sys.stderr.write("Remove all this? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    terminal.complain("nothing was removed")
    return False


def _remove(found: Found, owners: set[str]) -> list[str]:
    """Take it away; what is left nevertheless."""
    opened = _session(found.place)
    if opened is None:
        return []
    dialect, session = opened
    log = terminal.Log()
    try:
        for action in found.captures:
            execute.run(session, dialect, action, waiting=lambda text: log.event("waited", message=text))
        removal.forget(session, dialect, owners)
        for action in removal.home(session, dialect, owners):
            execute.run(session, dialect, action)
        if found.heartbeat is not None:
            time.sleep(COMES_BACK)
        return removal.left(session, dialect, owners, found.captures)
    finally:
        session.close()
