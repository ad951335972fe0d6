"""From text to documents: YAML and JSON as Kubernetes reads them.

It differs from PyYAML's own loader, each time for a reason: a key that stands twice is an error (the API server says
so, PyYAML takes the last one); dates stay texts and `12:30:00` is no number, as in Kubernetes; what aliases expand to
is bounded; and an error never repeats what is in quotes, because a password that begins with `*` or `!` is read as an
alias or a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MOST_VALUES = 1_000_000
"""Values in one document, aliases expanded: a page of aliases of aliases would otherwise fill the memory."""
DEEPEST = 100
NO_TEXT = "cannot be read: it is not text in UTF-8"
HALF = "a text with half of a character (an escape of \\ud800 to \\udfff that stands alone)"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file, counted from 1, or what is wrong with the text at that place."""

    number: int | None
    body: Any = None
    problem: str = ""


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of Kubernetes: null, booleans, numbers and texts."""


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of the two
    """The same fifteen times as fast, where PyYAML was built with libyaml: it counts with hundreds of tables."""


for _loader in (_Loader, _FastLoader):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_SCALARS = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp"))
_MERGE = "tag:yaml.org,2002:merge"


class _Wrong(Exception):  # never leaves this module
    def __init__(self, node: yaml.Node, text: str) -> None:
        super().__init__(f"{_at(node.start_mark)}: {text}")


def from_yaml(text: str) -> Iterator[Document]:
    """The documents of a text; empty ones are counted and left out."""
    if not _whole(text):
        yield Document(None, problem=NO_TEXT)
        return
    number = 1
    try:
        loader = (_FastLoader if _harmless(text) else _Loader)(text)
        while loader.check_node():
            try:
                body = _Plain(loader).value(loader.get_node())
            except _Wrong as error:
                yield Document(number, problem=str(error))
            else:
                if body is not None:
                    yield Document(number, body)
            number += 1
    except yaml.MarkedYAMLError as error:
        yield Document(None, problem=f"{_at(error.problem_mark or error.context_mark)}: {_said(error.problem)}")
    except yaml.YAMLError:
        yield Document(None, problem="no YAML: it has characters that cannot be in a text")
    except RecursionError:
        yield Document(number, problem=f"more than {DEEPEST} levels deep")


def _harmless(text: str) -> bool:
    """Whether the fast loader can take the text.

    Composing what is thousands of levels deep overflows its stack and kills the process, and it says less of an error.
    Reading the events first costs little and is not recursive.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_FastLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                return False
    except yaml.YAMLError:
        return False
    return True


def from_json(text: str) -> Iterator[Document]:
    """The one document of a JSON text."""
    if not _whole(text):
        yield Document(None, problem=NO_TEXT)
        return
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                twice.append(key)
            found[key] = value
        return found

    try:
        body = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        yield Document(None, problem=f"line {error.lineno}, column {error.colno}: {error.msg}")
    except RecursionError:
        yield Document(1, problem=f"more than {DEEPEST} levels deep")
    else:
        for key in twice:
            yield Document(1, problem=f"the key {_key(key)} stands twice")
        if not twice:
            yield Document(1, body) if _whole(json.dumps(body, ensure_ascii=False)) else Document(1, problem=HALF)


class _Plain:
    """Turns nodes into plain values; one for each document."""

    def __init__(self, loader: _Loader | _FastLoader) -> None:
        self.loader = loader
        self.left = MOST_VALUES

    def value(self, node: yaml.Node | None, depth: int = 0) -> Any:
        if node is None:
            return None
        self.left -= 1
        if self.left < 0:
            raise _Wrong(node, f"more than {MOST_VALUES:,} values, aliases expanded")
        if depth > DEEPEST:
            raise _Wrong(node, f"more than {DEEPEST} levels deep")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return self.mapping(node, depth)

    def scalar(self, node: yaml.ScalarNode) -> Any:
        if not _whole(node.value):
            raise _Wrong(node, HALF)
        if node.tag not in _SCALARS:
            raise _Wrong(node, "a tag that has no meaning here; if it is text, put it in quotes")
        if node.tag.endswith((":str", ":timestamp")) or (not node.style and _SEXAGESIMAL.fullmatch(node.value)):
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            raise _Wrong(node, "not the number that its tag says; if it is text, put it in quotes") from None

    def mapping(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged |= self.merged(value_node, depth)
                continue
            key = self.value(key_node, depth + 1)
            if not isinstance(key, str):
                raise _Wrong(key_node, "a key that is no text; put it in quotes")
            if key in found:
                raise _Wrong(key_node, f"the key {_key(key)} stands twice")
            found[key] = self.value(value_node, depth + 1)
        return merged | found

    def merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if not isinstance(part, yaml.MappingNode):
                raise _Wrong(part, "<< takes a mapping")
            merged |= self.mapping(part, depth + 1)
        return merged


def _whole(text: str) -> bool:
    """Whether the text can be written as UTF-8: an escape can make half of a character, which no terminal prints."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _at(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


def _said(problem: str | None) -> str:
    """What PyYAML says, without what it quotes from the text, unless that is a single character."""
    if problem and problem.startswith("found undefined alias"):
        return "an alias (*) of nothing; a text that begins with * needs quotes"
    if problem == "second occurrence":
        return "an anchor (&) that is set a second time; a text that begins with & needs quotes"

    def kept(match: re.Match[str]) -> str:
        return match.group() if re.fullmatch(r".|\\.|<[a-z ]+>", match.group()[1:-1]) else "…"

    return re.sub(r"'[^']*'|\"[^\"]*\"", kept, problem or "no YAML")


def _key(key: str) -> str:
    return key if len(key) <= 80 else f"{key[:80]}…"
