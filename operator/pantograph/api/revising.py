"""A whole object in a text of manifests, changed in place or taken out: what nobody changed stays as it stands.

`editing` sets one field; here an object is given as it is to be, and only the fields that differ are written anew. What
comes out is read again and compared, so that a layout that nobody thought of ends in a refusal.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import yaml

from pantograph.api import editing
from pantograph.api.editing import CannotEditError
from pantograph.api.reading import Origin

Edit = tuple[int, int, str]
"""Characters from, up to, and what stands there instead."""


def merged(raw: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What is written (`raw`), with what is different between two states of the object put in.

    before and after: the object with all its defaults. What is the same in both stays as it is written, or not written.
    """
    found = dict(raw)
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if new is None:
            found.pop(key, None)
        elif isinstance(old, dict) and isinstance(new, dict) and isinstance(raw.get(key, {}), dict):
            found[key] = merged(raw.get(key, {}), old, new)
        else:
            found[key] = new
    return found


def revise(text: str, origin: Origin, body: Mapping[str, Any]) -> str:
    """The text with the object at `origin` saying what `body` says. Raises `CannotEditError` where it cannot be."""
    editing.refuse_templates(text)
    wanted = editing.bodies(text, origin)
    here = editing.at(wanted, origin)
    before = copy.deepcopy(here)
    here.clear()
    here.update(body)
    if before == body:
        return text
    if (origin.file or "").endswith(".json"):
        # No comments to lose.
        return json.dumps(wanted[0][1], indent=2, ensure_ascii=False) + "\n"
    try:
        node = editing.node_of(text, origin)
        edits = list(_edits(text, node, before, body))
    except (yaml.YAMLError, RecursionError):
        raise CannotEditError("it cannot be read as YAML") from None
    changed = text
    for begin, end, written in sorted(edits, key=lambda one: one[:2], reverse=True):
        changed = changed[:begin] + written + changed[end:]
    if editing.bodies(changed, origin) != wanted:
        raise CannotEditError("other values depend on this place (an anchor, an alias?); change it by hand")
    return changed


def without(text: str, origin: Origin) -> str:
    """The text without the object at `origin`; "" when nothing else is in it. Raises `CannotEditError`."""
    editing.refuse_templates(text)
    wanted = [body for number, body in editing.bodies(text, origin) if number != (origin.document or 1)]
    if origin.within:
        raise CannotEditError("it is an item of a List; take it out by hand")
    if not wanted:
        return ""
    try:
        starts = [
            event.start_mark.index  # type: ignore[union-attr]  # a parsed event has its place
            for event in yaml.parse(text, Loader=yaml.SafeLoader)
            if isinstance(event, yaml.DocumentStartEvent)
        ]
    except yaml.YAMLError:
        raise CannotEditError("it cannot be read as YAML") from None
    starts[0] = 0
    number = (origin.document or 1) - 1
    begin, end = starts[number], ([*starts, len(text)])[number + 1]
    changed = text[:begin] + text[end:]
    if [body for _, body in editing.bodies(changed, Origin(origin.file))] != wanted:
        raise CannotEditError("other values depend on this place (an anchor, an alias?); take it out by hand")
    return changed


def _edits(text: str, node: yaml.Node, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Edit]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise CannotEditError("its layout leaves no place for it; change it by hand")
    if node.flow_style:
        return [(node.start_mark.index, node.end_mark.index, _flow(after))]
    edits: list[Edit] = []
    there = {key.value: (key, value) for key, value in node.value}
    indent = node.value[0][0].start_mark.column
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            key, value = _found(there, name)
            old, new = before[name], after[name]
            nested = isinstance(old, dict) and isinstance(new, dict) and isinstance(value, yaml.MappingNode)
            if nested and value.value:
                edits += _edits(text, value, old, new)
            else:
                edits.append((key.end_mark.index, _end(text, value), _after_key(new, indent, text)))
    for name in before.keys() - after.keys():
        key, value = _found(there, name)
        edits.append(_line(text, key, value))
    added = [name for name in after if name not in before]
    if added:
        last = _end(text, node)
        line_end = text.find("\n", last)
        place = len(text) if line_end < 0 else line_end
        newline = _newline(text)
        if newline == "\r\n" and text[place - 1 : place] == "\r":
            place -= 1
        lines = [f"{newline}{' ' * indent}{name}{_after_key(after[name], indent, text)}" for name in added]
        edits.append((place, place, "".join(lines)))
    return edits


def _found(there: Mapping[str, tuple[yaml.Node, yaml.Node]], name: str) -> tuple[yaml.Node, yaml.Node]:
    if name not in there:
        raise CannotEditError("other values depend on this place (an anchor, an alias?); change it by hand")
    return there[name]


def _after_key(value: Any, indent: int, text: str) -> str:
    """What stands behind a key, from its colon on."""
    if isinstance(value, (dict, list)) and value:
        dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000).rstrip("\n")
        newline = _newline(text)
        return ":" + "".join(f"{newline}{' ' * (indent + 2)}{line}" for line in dumped.split("\n"))
    return f": {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return json.dumps(value, ensure_ascii=False)
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return written.removesuffix("\n").removesuffix("\n...")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends. The parser's own end of a block is where the next thing begins, behind all remarks."""
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _end(text, node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        return _end(text, node.value[-1])
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return node.start_mark.index + len(text[node.start_mark.index : node.end_mark.index].rstrip())
    return int(node.end_mark.index)


def _line(text: str, key: yaml.Node, value: yaml.Node) -> Edit:
    """All lines of a field, to be taken out."""
    begin = text.rfind("\n", 0, key.start_mark.index) + 1
    if text[begin : key.start_mark.index].strip(" "):
        raise CannotEditError("its layout leaves no place for it; change it by hand")
    end = text.find("\n", _end(text, value))
    return begin, len(text) if end < 0 else end + 1, ""
