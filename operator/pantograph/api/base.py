"""What the three kinds are built of: models, rules, metadata, references.

A field is written once, in Python. Its description, its bounds and its default go from there into the CRD
(`api.schema`), the error that a user reads (`api.reading`) and the reference page. No kind is decided about here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

import pydantic
from pydantic import ConfigDict

from pantograph.api.values import Namespace, ObjectName, Text

GROUP = "pantograph.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/finalizer"
ALLOW_DELETES = f"{GROUP}/allow-deletes"
"""Annotation of a Reflection: how many rows a held sweep may delete."""
ABANDON = f"{GROUP}/abandon"
"""Annotation: `"true"` ends the wait for a database that cannot be reached while its object is deleted."""
ADOPT = f"{GROUP}/adopt"
"""Annotation of a Database: `"true"` takes over capture that another installation made; that one stops."""


def camel(name: str) -> str:
    """`max_rows_per_second` as users write it: `maxRowsPerSecond`. A trailing `_` keeps clear of pydantic's names."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule across the fields of a model, said twice: for the API server in CEL, for files in Python.

    message: what the user reads. field: the field at fault, in camelCase, or "" for the whole object. cel: "" where CEL
    cannot say it within the cost that the API server grants. holds: None for a rule that compares with the object's
    earlier self (`oldSelf`): that the field has not changed.
    """

    message: str
    field: str = ""
    cel: str = ""
    holds: Callable[[Any], bool] | None = None


class Model(pydantic.BaseModel):
    """A part of a manifest: frozen, strict, camelCase outside and snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=camel,
        validate_by_name=True,  # for Python; whoever reads a manifest validates by alias alone (api.reading)
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()


def immutable(field: str, *, optional: bool = False) -> Rule:
    """The field cannot be changed once the object is there.

    The rule stands on the parent, because the API server does not run a rule of an optional field when that is added.
    """
    same = f"self.{field} == oldSelf.{field}"
    if optional:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return Rule(message=f"{field} cannot be changed; make another object instead", field=field, cel=same)


def broken_rules(model: Model, path: str = "") -> Iterator[tuple[str, Rule]]:
    """Every rule that does not hold in a model or in a model below it, with the path of the field at fault."""
    for rule in type(model).RULES:
        if rule.holds is not None and not rule.holds(model):
            yield ".".join(part for part in (path, rule.field) if part), rule
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        below = ".".join(part for part in (path, info.alias or camel(name)) if part)
        if isinstance(value, Model):
            yield from broken_rules(value, below)
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                if isinstance(item, Model):
                    yield from broken_rules(item, f"{below}[{number}]")


def changed(before: Model, after: Model, path: str = "") -> Iterator[tuple[str, Rule]]:
    """Every field that cannot be changed and was, of two states of one object, with its path and rule."""
    for rule in type(after).RULES:
        name = next((n for n, info in type(after).model_fields.items() if (info.alias or camel(n)) == rule.field), "")
        if rule.holds is None and name and getattr(before, name) != getattr(after, name):
            yield ".".join(part for part in (path, rule.field) if part), rule
    for name, info in type(after).model_fields.items():
        earlier, later = getattr(before, name), getattr(after, name)
        if isinstance(earlier, Model) and isinstance(later, Model):
            yield from changed(earlier, later, ".".join(part for part in (path, info.alias or camel(name)) if part))


NOTHING: Final[dict[str, Any]] = {}
"""The default of a mapping; pydantic gives every model its own copy."""
_Text = Annotated[str, Text("a text (numbers, true and false need quotes)", most=262144, least=0, shown=False)]


class Metadata(Model):
    """The part of Kubernetes' own metadata that is read here; the rest is taken as it comes."""

    name: ObjectName
    """Unique among the objects of its kind in its namespace."""
    namespace: Namespace = "default"
    """Everything that an object refers to is in its own namespace."""
    labels: dict[str, _Text] = NOTHING
    """As in Kubernetes."""
    annotations: dict[str, _Text] = NOTHING
    """As in Kubernetes; those that begin with `pantograph.dev/` are read."""
    generation: int = 0
    """Grows with every change of the spec; set by Kubernetes."""
    uid: str = ""
    """Set by Kubernetes."""
    resource_version: str = ""
    """Set by Kubernetes."""
    generate_name: str = ""
    """As in Kubernetes."""
    creation_timestamp: datetime | None = None
    """Set by Kubernetes."""
    deletion_timestamp: datetime | None = None
    """There while the object waits for its finalizers; set by Kubernetes."""
    deletion_grace_period_seconds: int | None = None
    """Set by Kubernetes."""
    finalizers: tuple[str, ...] = ()
    """As in Kubernetes."""
    owner_references: tuple[dict[str, Any], ...] = ()
    """As in Kubernetes."""
    managed_fields: tuple[dict[str, Any], ...] = ()
    """Set by Kubernetes."""
    self_link: str = ""
    """Set by Kubernetes, once."""


class Reference(Model):
    """Names another object in the same namespace."""

    name: ObjectName
    """The object's metadata.name."""


class Resource(Model):
    """What the three kinds share. Each has a `spec` and a `status` of its own."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]

    metadata: Metadata

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; `default` in a file that names none."""
        return self.metadata.namespace

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    @property
    def subject(self) -> str:
        """The object as messages name it: `Reflection orders-to-warehouse`."""
        return f"{self.KIND} {self.name}"

    @property
    def being_deleted(self) -> bool:
        """Whether somebody has asked for the object to go."""
        return self.metadata.deletion_timestamp is not None

    def manifest(self) -> dict[str, Any]:
        """The object as a manifest, without what is at its default and without its status."""
        dumped: Mapping[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        head = {"apiVersion": API_VERSION, "kind": self.KIND, "metadata": dumped["metadata"]}
        return head | {"spec": dumped["spec"]}
