"""From a parsed manifest to a typed object, or to one line for each thing that is wrong with it.

A line says what was found only where that cannot be a secret: users write passwords into hosts, options and environment
variables, and what they wrote ends up in terminals and CI logs.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic_core import ErrorDetails

from pantograph import errors
from pantograph.api import values
from pantograph.api.base import Model, Resource, broken_rules

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object was read. `within` is the path of an item of a List: `items[2]`."""

    file: str | None = None
    document: int | None = None
    subject: str | None = None
    within: str = ""

    def error(self, message: str, path: str = "", reason: str | None = None) -> errors.SpecError:
        """An error about what was read here."""
        full = ".".join(part for part in (self.within, path) if part)
        return errors.SpecError(
            message, path=full, file=self.file, document=self.document, subject=self.subject, reason=reason
        )


@dataclass(slots=True)
class Findings:
    """Collects all that is wrong, so that a user mends a manifest once and not once a line."""

    errors: list[errors.SpecError] = field(default_factory=list)

    def add(self, origin: Origin, message: str, path: str = "") -> None:
        """Note one error."""
        self.errors.append(origin.error(message, path))


def parse(kind: type[R], body: Mapping[str, Any], *, tolerant: bool = False, origin: Origin | None = None) -> R:
    """One object from its manifest; `SpecErrors` with all that is wrong.

    tolerant: leave fields out that are not known here, because a newer cluster has them. A file is read strictly: there
    an unknown field is a typing mistake. The status is only read when tolerant; in a file it means nothing.
    """
    found = Findings()
    resource = read(kind, body, found, origin or origin_of(body), tolerant=tolerant)
    if resource is None or found.errors:
        raise errors.SpecErrors(found.errors)
    return resource


def origin_of(
    body: Mapping[str, Any], file: str | None = None, document: int | None = None, within: str = ""
) -> Origin:
    """Where an object was read, with its kind and name as far as they can be told."""
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    words = [str(word)[:80] for word in (body.get("kind"), name) if isinstance(word, str) and word]
    return Origin(file, document, " ".join(words) or None, within)


def read(
    kind: type[R], body: Mapping[str, Any], findings: Findings, origin: Origin, *, tolerant: bool = False
) -> R | None:
    """One object, or None when its fields are not of their types. Rules across fields are checked as well."""
    wanted = {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}
    if not tolerant:
        wanted.pop("status", None)
    try:
        resource = kind.model_validate_json(
            json.dumps(without_nulls(wanted)),
            by_alias=True,
            by_name=False,
            extra="ignore" if tolerant else "forbid",
        )
    except pydantic.ValidationError as error:
        for path, message in explain(kind, error.errors(include_url=False)):
            findings.add(origin, message, path)
        return None
    for path, rule in broken_rules(resource):
        findings.add(origin, rule.message, path)
    return resource


def without_nulls(value: Any) -> Any:
    """A field that is null is a field that is not there, as the API server has it. An item that is null stays."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def explain(model: type[Model], problems: Iterable[ErrorDetails]) -> Iterable[tuple[str, str]]:
    """Path and message for each problem that pydantic found, in the user's words."""
    for problem in problems:
        location = problem["loc"]
        path, wanted = path_of(location), _annotation(model, location)
        if problem["type"] == "extra_forbidden":
            yield path, _unknown(model, location)
        elif problem["type"] == "missing":
            yield path, f"missing, expected {_expected(wanted, problem)}"
        else:
            yield path, f"found {shown(problem['input'], wanted)}, expected {_expected(wanted, problem)}"


def path_of(location: Sequence[int | str]) -> str:
    """`spec.columns[2].source`; a key that is no plain word stands in brackets: `metadata.labels["a/b"]`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,79}", step):
            path += f".{step}" if path else step
        elif step != "[key]":
            path += f"[{json.dumps(step[:80], ensure_ascii=False)}]"
    return path


def shown(value: Any, annotation: Any) -> str:
    """What was found, where the field's type says that it may be shown; else what kind of thing it is."""
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    # Where a mapping or a list is wanted anything may have been written: `credentials: postgres://user:password@host`.
    harmless = annotation.shown if isinstance(annotation, values.Worded) else _is_choice(annotation)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value) if harmless else "a number"
    if not harmless or "://" in value:
        return "a text" if value else "an empty text"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 62 else f"{text[:60]}…"


def _is_choice(annotation: Any) -> bool:
    return annotation in (bool, int) or get_origin(annotation) is Literal


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` when one of the known words is close, else nothing."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(word.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def _unknown(model: type[Model], location: Sequence[int | str]) -> str:
    parent = _annotation(model, location[:-1])
    known = _aliases(parent) if isinstance(parent, type) and issubclass(parent, Model) else {}
    near = nearest(str(location[-1]), known)
    if near or not known:
        return f"no such field{near}"
    return f"no such field; there are {', '.join(sorted(known))}"


def _aliases(model: type[Model]) -> dict[str, str]:
    return {info.alias or name: name for name, info in model.model_fields.items()}


def _annotation(model: type[Model], location: Sequence[int | str]) -> Any:
    """What stands as the type at a place below a model: a model, a Literal, a type, or the words of `values`."""
    here: Any = model
    for step in location:
        if isinstance(here, type) and issubclass(here, Model):
            name = _aliases(here).get(str(step))
            if name is None:
                return None
            info = here.model_fields[name]
            worded = [entry for entry in info.metadata if isinstance(entry, values.Worded)]
            here = worded[0] if worded else _bare(info.annotation)
        elif get_origin(here) in (tuple, dict):
            arguments = get_args(here)
            here = _bare(arguments[0] if get_origin(here) is tuple else arguments[1])
        else:
            return here
    return here


def _bare(annotation: Any) -> Any:
    """The type without `| None`, and without what is annotated to it unless those are our words."""
    if get_origin(annotation) not in (Literal, tuple, dict, None):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        worded = [part for part in getattr(annotation, "__metadata__", ()) if isinstance(part, values.Worded)]
        return worded[0] if worded else _bare(inner[0])
    return annotation


def _expected(annotation: Any, problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    if problem["type"] == "expects":
        return str(context["what"])
    if problem["type"] == "too_long":
        return f"at most {context['max_length']} items"
    if isinstance(annotation, values.Worded):
        return annotation.what
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(
            json.dumps(choice) if choice == "" else str(choice) for choice in get_args(annotation)
        )
    if isinstance(annotation, type) and issubclass(annotation, Model):
        required = [info.alias or name for name, info in annotation.model_fields.items() if info.is_required()]
        return f"a mapping with {', '.join(required)}" if required else "a mapping"
    if get_origin(annotation) is tuple:
        return "a list"
    if get_origin(annotation) is dict:
        return "a mapping"
    return {bool: "true or false", int: "a whole number", str: "a text", datetime: "a time"}.get(
        annotation, "something else"
    )
