"""The page of types says what the tables that are made get, and what the routes' tests take for granted."""

from __future__ import annotations

import re

import pytest

from tests.support import typespage, values

PAGE = typespage.PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_tables_as_they_are_made() -> None:
    assert f"{typespage.BEGIN}\n{typespage.rendered()}{typespage.END}" in PAGE, "python -m tests.support.typespage"


@pytest.mark.parametrize("engine", values.COLUMNS, ids=typespage.NAMES.get)
def test_what_the_routes_take_for_refused_is_refused_on_the_page(engine: str) -> None:
    """Of the columns whose type stands there by the same name."""
    section = PAGE.partition(f"\n### {typespage.NAMES[engine]}\n")[2].partition("\n### ")[0]
    names = [cell.strip() for cell in section.splitlines()[1].split("|")[3:-1]]
    rows = {
        found[1].strip("`").lower(): dict(zip(names, (cell.strip() for cell in found[2].split("|")), strict=False))
        for found in re.finditer(r"^\| ([^|]+) \| [^|]* \| (.+) \|$", section, re.MULTILINE)
    }
    seen = 0
    for column in values.COLUMNS[engine]:
        for destination in values.COLUMNS:
            cell = rows.get(column.native.lower(), {}).get(typespage.NAMES[destination])
            if cell is not None:
                seen += 1
                assert (cell == "refused") == (destination in column.refused), (column.name, destination, cell)
    assert seen >= 20
