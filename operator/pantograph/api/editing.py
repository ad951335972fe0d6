"""One field of one object in a text of manifests, changed in place: comments, order and layout stay as they are.

The parser says where a value stands, and only those characters are replaced. What comes out is read again and compared,
so that an alias or a layout that nobody thought of ends in a refusal and never in another change.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from pantograph.api import documents
from pantograph.api.reading import Origin

_ITEM = re.compile(r"items\[(\d+)\]")
_TEMPLATES = ("{{", "{%", "<%")


class CannotEditError(Exception):
    """The text cannot be changed in place; the message says why, as a clause."""


def put(text: str, origin: Origin, field: str, value: bool | str | None) -> str:
    """The text with `spec.<field>` of the object at `origin` set. None: as without it.

    Raises `CannotEditError` where that is not possible without touching anything else.
    """
    refuse_templates(text)
    try:
        spec = _child(node_of(text, origin), "spec")
    except (yaml.YAMLError, RecursionError):
        raise CannotEditError("it cannot be read as YAML") from None
    changed = _changed(text, spec, field, value)
    wanted = bodies(text, origin)
    _set(at(wanted, origin)["spec"], field, value)
    got = bodies(changed, origin)
    if value is None:
        # A field that could not be taken out was set to what it is without it.
        _set(at(got, origin)["spec"], field, None)
    if got != wanted:
        raise CannotEditError("other values depend on this place (an anchor, an alias?); change it by hand")
    return changed


def refuse_templates(text: str) -> None:
    """Raise `CannotEditError` for what is no manifest yet."""
    if any(mark in text for mark in _TEMPLATES):
        raise CannotEditError("it looks like a template; change what it is made from")


def node_of(text: str, origin: Origin) -> yaml.Node:
    """The object at `origin` as the parser sees it, with its places in the text."""
    # Not the fast loader: it counts bytes where this one counts characters.
    for number, node in enumerate(yaml.compose_all(text, Loader=yaml.SafeLoader), 1):
        if number == (origin.document or 1):
            for index in _ITEM.findall(origin.within):
                items = _child(node, "items")
                if not isinstance(items, yaml.SequenceNode):
                    break
                node = items.value[int(index)]
            return node
    raise CannotEditError("the object is not there any more")


def _child(node: yaml.Node, key: str) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key and isinstance(value, yaml.Node):
                return value
    raise CannotEditError(f"it has no {key} of its own")


def _changed(text: str, spec: yaml.Node, field: str, value: bool | str | None) -> str:
    if not isinstance(spec, yaml.MappingNode) or not spec.value:
        raise CannotEditError("its spec is empty")
    written = f'"{value}"' if isinstance(value, str) else "true" if value else "false"
    for key, found in spec.value:
        if key.value == field:
            begin, end = found.start_mark.index, found.end_mark.index
            line = text.rfind("\n", 0, begin) + 1, text.find("\n", end) + 1 or len(text)
            if value is None and not spec.flow_style and re.fullmatch(rf"\s*{field}:\s*\S+\s*", text[slice(*line)]):
                return text[: line[0]] + text[line[1] :]
            return text[:begin] + (" " if begin == end else "") + written + text[end:]
    if value is None:
        return text
    first = spec.value[0][0].start_mark
    name = f'"{field}"' if text[first.index] == '"' else field
    if spec.flow_style:
        opened = text[: first.index].rstrip()
        between = text[len(opened) : first.index]
        return f"{text[: first.index]}{name}: {written},{between if chr(10) in between else ' '}{text[first.index :]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text[: first.index]}{name}: {written}{newline}{' ' * first.column}{text[first.index :]}"


def bodies(text: str, origin: Origin) -> list[Any]:
    """Number and content of every document; `origin` says whether they are JSON."""
    parse = documents.from_json if (origin.file or "").endswith(".json") else documents.from_yaml
    found = list(parse(text))
    if any(document.problem for document in found):
        raise CannotEditError("its layout leaves no place for it; change it by hand")
    return [(document.number, copy.deepcopy(document.body)) for document in found]


def at(numbered: list[Any], origin: Origin) -> dict[str, Any]:
    """The object at `origin` among numbered documents."""
    here = next(body for number, body in numbered if number == (origin.document or 1))
    for index in _ITEM.findall(origin.within):
        here = here["items"][int(index)]
    found: dict[str, Any] = here
    return found


def _set(spec: dict[str, Any], field: str, value: bool | str | None) -> None:
    if value is None:
        spec.pop(field, None)
    else:
        spec[field] = value
