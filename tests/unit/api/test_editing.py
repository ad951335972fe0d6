"""A field is changed in the text of a manifest, and not a character beside it."""

import pytest
import yaml

from pantograph.api import editing
from pantograph.api.reading import Origin

BLOCK = """\
# All that goes to the warehouse.
apiVersion: pantograph.dev/v1alpha1
kind: Reflection
metadata: {name: orders}   # the big one
spec:
  # what
  sourceTableRef: {name: orders}

  destination:
      databaseRef: {name: copy}
      table: orders        # odd indentation
---
kind: Other
spec: {a: 1}
"""
FLOW = "kind: Reflection\nspec: {sourceTableRef: {name: a}, stream: x} # end\n"
JSON = '{\n  "kind": "Reflection",\n  "spec": {\n    "stream": "x"\n  }\n}\n'
LIST = "kind: List\nitems:\n- kind: A\n  spec: {x: 1}\n- kind: B\n  spec:\n    stream: x\n"
FIRST = Origin("f.yaml", 1)


def test_a_field_is_added_to_a_block_and_all_else_stays():
    changed = editing.put(BLOCK, FIRST, "paused", True)
    assert changed == BLOCK.replace("  sourceTableRef", "  paused: true\n  sourceTableRef")


def test_what_was_added_is_taken_out_again():
    assert editing.put(editing.put(BLOCK, FIRST, "paused", True), FIRST, "paused", None) == BLOCK


def test_a_field_that_is_there_is_replaced_where_it_stands():
    text = BLOCK.replace("  # what\n", "  paused: false   # until Monday\n")
    assert editing.put(text, FIRST, "paused", True) == text.replace("paused: false ", "paused: true ")


def test_a_remark_keeps_its_line():
    text = BLOCK.replace("  # what\n", "  paused: true   # until Monday\n")
    assert editing.put(text, FIRST, "paused", None) == text.replace("paused: true ", "paused: false ")


@pytest.mark.parametrize(
    ("text", "origin", "expected"),
    [
        (FLOW, FIRST, FLOW.replace("{sourceTableRef", "{paused: true, sourceTableRef")),
        (JSON, Origin("f.json", 1), JSON.replace('"stream"', '"paused": true,\n    "stream"')),
        (LIST, Origin("f.yaml", 1, within="items[1]"), LIST.replace("    stream", "    paused: true\n    stream")),
        (BLOCK.replace("\n", "\r\n"), FIRST, None),
        ("\n" + BLOCK.replace("# what", "# ünï – 漢字 🙂"), FIRST, None),
        ("---\n---\n" + BLOCK, Origin("f.yaml", 2), None),
    ],
    ids=["flow", "json", "list", "crlf", "beyond-ascii", "empty-document"],
)
def test_it_is_found_in_every_layout(text, origin, expected):
    changed = editing.put(text, origin, "paused", True)
    assert expected is None or changed == expected
    assert editing.put(changed, origin, "paused", True) == changed
    assert changed.replace("  paused: true\r\n", "").replace("  paused: true\n", "") == text or expected


def test_a_text_is_quoted():
    changed = editing.put(BLOCK, FIRST, "resyncToken", "2026-01-01T00:00:00Z")
    assert next(yaml.load_all(changed, yaml.BaseLoader))["spec"]["resyncToken"] == "2026-01-01T00:00:00Z"
    assert 'resyncToken: "2026-01-01T00:00:00Z"\n' in changed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BLOCK.replace("copy", "'{{ .Values.copy }}'"), "template"),
        ("a: &x {stream: y}\nspec: *x\nother: *x\n", "by hand"),
        ("kind: Reflection\nspec: {}\n", "empty"),
        ("kind: Reflection\n", "spec"),
        ("kind: [", "YAML"),
    ],
    ids=["template", "alias", "empty", "none", "broken"],
)
def test_what_cannot_be_changed_alone_is_refused(text, words):
    with pytest.raises(editing.CannotEditError, match=words):
        editing.put(text, FIRST, "paused", True)
