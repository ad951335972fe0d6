"""The manifests that a command is given, and what they ask for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pantograph import errors
from pantograph.api import acting, manifests
from pantograph.api.base import Resource
from pantograph.api.manifests import Manifests

if TYPE_CHECKING:
    from pantograph.apply.sources import Wanted
from pantograph.api.reflections import Reflection
from pantograph.cli import terminal


@dataclass(frozen=True)
class InCluster:
    """In place of files: the objects of a cluster. context: of the kubeconfig; namespace: "" for all of them."""

    context: str = ""
    namespace: str = "default"
    selector: str = ""

    @property
    def place(self) -> str:
        """Where it looks, for people."""
        return f"namespace {self.namespace}" if self.namespace else "any namespace"


Given = Sequence[str] | InCluster
"""What a command is given: files, folders or `-`; or a cluster."""


def load(paths: Given, namespace: str = "default") -> Manifests:
    """The manifests. Raises `SpecErrors` with all that is wrong with files; of a cluster its operator says that."""
    if isinstance(paths, InCluster):
        from pantograph.cli import incluster  # the client of a cluster, which takes its time

        return incluster.manifests(paths)
    found, wrong = manifests.read(paths, sys.stdin, namespace=namespace)
    wrong = wrong or acting.unsupported(found)
    if wrong:
        raise errors.SpecErrors(wrong)
    return found


def refuse_conflicts(found: Manifests, wanted: Sequence[Wanted]) -> None:
    """Raise `SpecErrors` for Reflections that would undo each other's work, as the databases themselves tell."""
    from pantograph.apply import claims  # not for those who only read manifests

    reflections = {f"{one.namespace}/{one.name}": one for one in found.reflections.values()}
    if wrong := claims.conflicts(wanted):
        raise errors.SpecErrors(
            [found.origin(reflections[one.name]).error(one.message, one.path, reason="Conflict") for one in wrong]
        )


def told(found: Manifests, subject: str, failure: errors.PantographError) -> str:
    """What is wrong with an object, in one line; where it was read, if its manifest is what is wrong."""
    if isinstance(failure, errors.SpecError) and failure.file is None:
        everything: list[Resource] = [*found.databases.values(), *found.source_tables.values()]
        named = [one for one in (*everything, *found.reflections.values()) if one.subject == subject]
        if len(named) == 1:
            return str(found.origin(named[0]).error(str(failure.args[0]), failure.path))
    return f"{subject}: {failure}"


def load_with_sources(paths: Given, namespace: str = "default", *, none_yet: bool = False) -> Manifests:
    """As `load`, for commands that have nothing to do where there is no SourceTable. none_yet: one is to come."""
    found = load(paths, namespace)
    if not found.source_tables and not none_yet:
        where = paths.place if isinstance(paths, InCluster) else ", ".join(paths)
        raise errors.SpecErrors(
            [errors.SpecError(f"there is no SourceTable in {where}, so there is nothing to mirror")]
        )
    if isinstance(paths, InCluster):
        return found  # a file of a Database is where its reflector is
    if missing := list(_missing_files(found)):
        raise errors.SpecErrors(missing)
    return found


def marks(paths: Sequence[str]) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when a file of manifests is written, comes or goes."""
    found = []
    for file in (file for path in paths for file in manifests.files_of(Path(path))):
        with contextlib.suppress(OSError):
            seen = file.stat()
            found.append((str(file), seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)


def named(found: Manifests, names: Sequence[str], namespace: str) -> list[Reflection]:
    """The Reflections of these names (`name` or `namespace/name`); all of them for none. Raises `SpecError`."""
    if not names:
        return [one for _, one in sorted(found.reflections.items())]
    chosen = {}
    for name in names:
        key = tuple(name.split("/", 1)) if "/" in name else (namespace, name)
        one = found.reflections.get((key[0], key[1]))
        if one is None:
            known = ", ".join(terminal.short("/".join(key)) for key in sorted(found.reflections)) or "none"
            raise errors.SpecError(f"there is no Reflection {name} in the manifests; there are: {known}")
        chosen[one.key] = one
    return list(chosen.values())


def _missing_files(found: Manifests) -> Iterator[errors.SpecError]:
    """SQLite makes a file that is not there: a source whose path is mistyped would be an empty database."""
    for database in found.databases.values():
        path = database.spec.path
        if path and found.source_tables_of(database) and not os.path.exists(path):
            hint = "" if os.path.isabs(path) else f" (looked for in {os.getcwd()})"
            yield found.origin(database).error(f"there is no file {path}{hint}", "spec.path")
