"""A wrong manifest ends every command with 2 and a line for each thing that is wrong; nothing is changed, nobody is
asked. (That every field is checked in every way: tests/unit/api/test_wrong_fields.py.)"""

from __future__ import annotations

import copy

import pytest

from pantograph.cli import commands
from tests.command.conftest import write

COMMANDS = (["run", "--once"], ["plan"], ["status"], ["verify"], ["remove", "--yes"])
WRONG = [
    ("Database", {"dialect": "oracle"}, 'spec.dialect: found "oracle", expected one of postgresql, '),
    ("Database", {"path": None}, "spec.path: missing; a sqlite Database is a file and needs its path"),
    ("Database", {"host": "h"}, "spec.host: a sqlite Database is a file: give path, and leave host out"),
    ("SourceTable", {"table": ""}, 'spec.table: found "", expected a table name (string)'),
    ("SourceTable", {"databaseRef": {"name": "shpo"}}, "there is no Database shpo in namespace default (did you"),
    ("SourceTable", {"keyColumns": ["id", "id"]}, "spec.keyColumns: a column is named twice"),
    ("Reflection", {"wehre": "id > 3"}, "spec.wehre: no such field (did you mean where?)"),
    ("Reflection", {"where": "id > (select 1)"}, "spec.where: select makes a subquery, which reads other tables"),
    ("Reflection", {"where": "id > 3; drop table orders"}, "spec.where: has ; (character 7), that ends a statement"),
    ("Reflection", {"onDelete": "Mark"}, "spec.softDelete: missing; onDelete Mark needs softDelete: {column: …}"),
    ("Reflection", {"columns": [{"source": "id", "expression": "id"}]}, "give exactly one of source, expression"),
    (
        "Reflection",
        {"columns": [{"source": "id"}, {"expression": "random()", "destination": "r", "type": "int"}]},
        "spec.columns[1].expression: random() depends on chance, so it would change with no change of the row",
    ),
    (
        "Reflection",
        {"columns": [{"source": "id"}, {"value": 1, "destination": "r", "type": "int); drop table orders; --"}]},
        "spec.columns[1].type: has ; (character 5), that ends a statement",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_every_command_refuses_a_wrong_manifest_with_one_line(shop, capsys, monkeypatch, kind, spec, said):
    monkeypatch.chdir(shop.folder)
    documents = copy.deepcopy(shop.documents)
    number = next(n for n, one in enumerate(documents) if one["kind"] == kind)
    documents[number]["spec"] |= spec
    path = write(shop.folder, documents)
    before = shop.dumps()
    for command in COMMANDS:
        assert commands.main([*command, "-f", str(path)]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        name = documents[number]["metadata"]["name"]
        assert line.startswith(f"pantograph: {path}: document {number + 1} ({kind} {name}): ")
        assert said in line
    assert shop.dumps() == before
