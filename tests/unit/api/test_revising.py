"""An object is changed in the text of a manifest as a whole, and what is the same stays as it stands."""

import copy

import pytest
import yaml

from pantograph.api import editing, revising
from pantograph.api.reading import Origin

BLOCK = """\
# All that goes to the warehouse.
apiVersion: pantograph.dev/v1alpha1
kind: Reflection
metadata: {name: orders}   # the big one
spec:
  # what
  sourceTableRef: {name: orders}
  where: "x > 1"   # only these

  destination:
    databaseRef: {name: copy}
    table: orders        # theirs
  columns:
  - source: id
  # the price
  - {source: price, destination: cost}
  # the end
---
kind: Other
spec: {a: 1}
"""
FIRST = Origin("f.yaml", 1)


def body(text=BLOCK):
    return copy.deepcopy(editing.at(editing.bodies(text, FIRST), FIRST))


def revised(change, text=BLOCK):
    wanted = body(text)
    change(wanted)
    changed = revising.revise(text, FIRST, wanted)
    assert body(changed) == wanted
    return changed


def test_nothing_changed_is_the_same_text():
    assert revising.revise(BLOCK, FIRST, body()) == BLOCK


def test_a_field_is_replaced_and_its_remark_stays():
    changed = revised(lambda it: it["spec"].update(where="y < 2"))
    assert changed == BLOCK.replace('"x > 1"', "y < 2")


def test_a_field_below_is_replaced_where_it_stands():
    changed = revised(lambda it: it["spec"]["destination"].update(createTable=False))
    assert changed == BLOCK.replace("# theirs\n", "# theirs\n    createTable: false\n")


def test_a_new_field_stands_at_the_end_of_its_block():
    changed = revised(lambda it: it["spec"].update(verify={"every": "1d"}))
    assert changed == BLOCK.replace("destination: cost}\n", "destination: cost}\n  verify:\n    every: 1d\n")


def test_a_field_is_taken_out_with_its_lines():
    changed = revised(lambda it: it["spec"].pop("columns"))
    assert "columns" not in changed
    assert "# theirs" in changed
    assert "# the end\n---" in changed


def test_a_list_is_written_anew():
    changed = revised(lambda it: it["spec"].update(columns=[{"source": "id"}, {"value": 5, "destination": "n"}]))
    assert "  columns:\n    - source: id\n    - value: 5\n      destination: n\n  # the end\n---" in changed


def test_a_mapping_in_one_line_stays_in_one_line():
    changed = revised(lambda it: it["metadata"].update(annotations={"a/b": "5"}))
    assert "metadata: {name: orders, annotations: {a/b: '5'}}   # the big one\n" in changed


@pytest.mark.parametrize("text", [BLOCK.replace("\n", "\r\n"), "---\n" + BLOCK], ids=["crlf", "marked"])
def test_other_layouts_do_as_well(text):
    changed = revised(lambda it: it["spec"].update(paused=True, where="a"), text)
    assert next(yaml.safe_load_all(changed))["spec"]["paused"] is True
    assert changed.count("\r\n") in (0, changed.count("\n"))


def test_text_of_several_lines_is_kept_whole():
    revised(lambda it: it["spec"].update(statement="insert\n  into x: # no\n"))


def test_json_is_written_as_json():
    origin = Origin("f.json", 1)
    assert revising.revise('{"spec": {"a": 1}}', origin, {"spec": {"a": 2}}) == '{\n  "spec": {\n    "a": 2\n  }\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {stream: y}\nspec: *x\n",
        "a: &x\n  stream: y\nspec: *x\n",
        BLOCK.replace("copy", "'{{ copy }}'"),
    ],
    ids=["alias", "alias-of-a-block", "template"],
)
def test_what_cannot_be_changed_alone_is_refused(text):
    with pytest.raises(editing.CannotEditError):
        revised(lambda it: it["spec"].update(stream="z"), text)


def test_an_object_is_taken_out_with_its_remarks_and_others_stay():
    assert revising.without(BLOCK, FIRST) == "---\nkind: Other\nspec: {a: 1}\n"
    assert revising.without(BLOCK, Origin("f.yaml", 2)) == BLOCK.partition("---")[0]
    assert revising.without("kind: A\n", FIRST) == ""


def test_what_is_the_same_as_before_is_left_as_it_is_written():
    raw = {"paused": False, "where": "x"}
    before = {"paused": False, "where": "x", "stream": "default", "destination": {"table": "a", "existing": ""}}
    after = {**before, "where": "", "destination": {"table": "a", "existing": "Keep"}}
    assert revising.merged(raw, before, after) == {"paused": False, "where": "", "destination": {"existing": "Keep"}}
