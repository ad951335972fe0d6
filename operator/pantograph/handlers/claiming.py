"""Who writes which table, among all groups: asked of the servers once a group, and again when that may have changed.

A thousand objects after a restart are a look at each database, and not at all of them for each group; and a database
that does not answer holds up nobody but those who need it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

from pantograph import errors
from pantograph.api.manifests import Key
from pantograph.apply import claims
from pantograph.apply.sources import Wanted
from pantograph.reconcile import ownership
from pantograph.reconcile.ownership import Claim


@dataclass
class _Group:
    """What one group wants, and what the servers said of that. asked: what they were asked for then. complete: whether
    all of them answered."""

    wanted: Wanted
    asked: frozenset[object] = frozenset()
    complete: bool = True
    claims: tuple[Claim, ...] = ()


class Claims:
    """The claims of all groups. May be used by several threads; no lock is held while a server is asked."""

    def __init__(self, ask: Callable[[Wanted, Set[str]], tuple[list[Claim], bool]] = claims.of) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._groups: dict[Key, _Group] = {}
        self._found: dict[str, errors.SpecError] = {}

    def of(self, key: Key, wanted: Wanted | None) -> tuple[dict[str, errors.SpecError], set[Key]]:
        """The conflicts by Reflection, and the other groups for which they are others than before."""
        with self._lock:
            if wanted is None:
                self._groups.pop(key, None)
            else:
                self._groups.setdefault(key, _Group(wanted)).wanted = wanted
            shared = self._shared()
            # A server that did not answer is asked again by those who need it, who wait for it anyway.
            due = {
                other: (one.wanted, asked)
                for other, one in self._groups.items()
                if (asked := _asked(one.wanted, shared)) != one.asked or (other == key and not one.complete)
            }
        answered = {other: (asked, self._ask(one, shared)) for other, (one, asked) in due.items()}
        with self._lock:
            shared = self._shared()
            for other, (asked, (told, complete)) in answered.items():
                one = self._groups.get(other)
                # Something else may be wanted by now: then whoever wants that has asked, or is about to.
                if one is not None and _asked(one.wanted, shared) == asked:
                    one.claims, one.asked, one.complete = tuple(told), asked, complete
            return self._judge(key)

    def _judge(self, key: Key) -> tuple[dict[str, errors.SpecError], set[Key]]:
        before = self._found
        all_claims = [claim for one in self._groups.values() for claim in one.claims]
        self._found = {
            one.name: errors.SpecError(one.message, path=one.path, reason="Conflict")
            for one in ownership.conflicts(all_claims)
        }
        changed = before.keys() ^ self._found.keys()
        return self._found, {
            other
            for other, one in self._groups.items()
            if other != key and changed and changed & {claim.name for claim in one.claims}
        }

    def _shared(self) -> frozenset[str]:
        return claims.shared(one.wanted for one in self._groups.values())


def _asked(wanted: Wanted, shared: Iterable[str]) -> frozenset[object]:
    """What the answer depends on."""
    tables = {copy.table.casefold() for _, copies in wanted.copies.values() for copy in copies}
    return frozenset([*tables.intersection(shared), *_claimed(wanted)])


def _claimed(wanted: Wanted) -> list[object]:
    return [
        (wanted.address.label, copy.name, copy.source, target.label, copy.schema, copy.table, copy.missing_row,
         copy.items, copy.exclude, copy.key)
        for target, copies in wanted.copies.values()
        for copy in copies
    ]  # fmt: skip
