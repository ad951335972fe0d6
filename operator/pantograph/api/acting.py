"""What the kinds already say but nothing carries out yet. It is refused by name: a field is never ignored.

Whoever makes a field act deletes its line from `NOT_ACTING`; nothing else here needs to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pantograph import errors
from pantograph.api.base import Model, Resource
from pantograph.api.manifests import Manifests


@dataclass(frozen=True, slots=True)
class NotActing:
    """A field that does not act with any other value than those in `acting`; without those, than its default."""

    kind: str
    path: str
    acting: tuple[Any, ...] = ()


NOT_ACTING: tuple[NotActing, ...] = ()


def unsupported(manifests: Manifests) -> list[errors.SpecError]:
    """One error for every field of the manifests that asks for what does not act yet."""
    kinds: dict[str, list[Resource]] = {
        "Database": list(manifests.databases.values()),
        "SourceTable": list(manifests.source_tables.values()),
        "Reflection": list(manifests.reflections.values()),
    }
    return [
        manifests.origin(resource).error(message, path, reason="NotSupported")
        for resources in kinds.values()
        for resource in resources
        for path, message in refused(resource)
    ]


def refused(resource: Resource) -> Iterator[tuple[str, str]]:
    """Path and message of every field of one object that asks for what does not act yet."""
    for entry in NOT_ACTING:
        if entry.kind != resource.KIND:
            continue
        value, default = _value(resource, entry.path)
        if value in (entry.acting or (default,)):
            continue
        if entry.acting:
            yield entry.path, f"{value} does not act yet; {', '.join(map(str, entry.acting))} do"
        elif isinstance(value, str) and isinstance(default, str) and default:
            yield entry.path, f"{value} does not act yet, only {default} does"
        else:
            yield entry.path, "does not act yet; leave it out"


def _value(resource: Resource, path: str) -> tuple[Any, Any]:
    """A field's value and its default, by its path as users write it."""
    here: Any = resource
    default: Any = None
    for step in path.split("."):
        fields = type(here).model_fields
        name = next(name for name, info in fields.items() if (info.alias or name) == step)
        default = None if fields[name].is_required() else fields[name].get_default(call_default_factory=True)
        here = getattr(here, name)
        if not isinstance(here, Model):
            break
    return here, default
