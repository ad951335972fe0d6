"""`pantograph retry`: rows that wait, or were set aside, are looked up and written again now, by whoever moves rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pantograph import dialects, errors
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection
from pantograph.apply import observe
from pantograph.cli import files, outcomes, standing, terminal
from pantograph.cli.outcomes import Status
from pantograph.database.addresses import address
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role
from pantograph.pipeline import keys, steps


def run(names: Sequence[str], paths: files.Given, *, installation: str, namespace: str) -> Status:
    """Make the noted keys of the Reflections of these names due."""
    manifests = files.load_with_sources(paths, namespace)
    worst, waiting = Status.DONE, set()
    for one in files.named(manifests, names, namespace):
        name = terminal.short(f"{one.namespace}/{one.name}")
        try:
            count = hasten(manifests, one, installation)
        except errors.PantographError as error:
            terminal.complain(f"Reflection {name}: {error}")
            worst = max(worst, outcomes.status_of(error))
            continue
        rows = "no row waits" if not count else f"{terminal.count(count)} row{'s' * (count > 1)} tried again now"
        print(f"Reflection {name}: {rows}", flush=True)
        if count:
            waiting.add(manifests.source_database_of(one).key)
    for key in sorted(waiting):
        if not standing.is_read(manifests, manifests.databases[key]):
            terminal.complain(f"nobody moves rows of Database {key[1]} now; `pantograph run` will try them")
    return worst


def hasten(manifests: Manifests, one: Reflection, installation: str) -> int:
    """Make the noted keys of a Reflection due; how many there are."""
    owner = standing.owner_of(manifests.source_database_of(one), installation)
    target = dialects.load(address(manifests, manifests.destination_of(one)))
    with contextlib.closing(Session(target, Role.WRITER)) as session:
        if not observe.has_home(session, target, "keys"):
            return 0
        with session.step(steps.NOTE_KEYS):
            return keys.hasten(session, target, owner, f"{one.namespace}/{one.name}")
