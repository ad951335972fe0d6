"""Reflections that would undo each other's work are told, each in one line."""

from __future__ import annotations

from typing import Any

import pytest

from pantograph.reconcile.ownership import Claim, conflicts


def claim(name: str, way: str, **more: Any) -> Claim:
    """`way`: `a>b`, the letters are tables."""
    source, destination = way.split(">")
    given = {"key": frozenset({"id"}), "columns": frozenset({"name", "price"})} | more
    return Claim(f"default/{name}", (source,), (destination,), f"table {source}", f"table {destination}", **given)


def told(*claims: Claim) -> dict[str, str]:
    found = conflicts(claims)
    assert all(one.path == "spec.destination.table" for one in found)
    assert len({one.name for one in found}) == len(found)
    return {one.name.removeprefix("default/"): one.message for one in found}


def test_reflections_of_tables_of_their_own_are_fine() -> None:
    assert told(claim("one", "a>b"), claim("two", "a>c"), claim("three", "b>d"), claim("four", "c>e")) == {}


def test_a_reflection_onto_its_own_source() -> None:
    assert told(claim("one", "a>a")) == {
        "one": "the table is its own source: table a and table a are one table, expected another one"
    }


def test_two_that_write_into_each_other() -> None:
    assert told(claim("there", "a>b"), claim("back", "b>a")) == {
        "there": "changes would go round for ever, with back: from table a to table b to table a; expected a table "
        "that is not read for its own source"
    }


def test_a_long_circle_is_told_once() -> None:
    found = told(claim("1", "a>b"), claim("2", "b>c"), claim("3", "c>d"), claim("4", "d>a"), claim("5", "d>e"))
    assert list(found) == ["4"]
    assert "with 1, 2, 3: from table d to table a to table b to table c to table d;" in found["4"]


def test_two_that_insert_the_same_rows() -> None:
    assert told(claim("one", "a>c"), claim("two", "b>c")) == {
        "two": "table c: Reflection one inserts and deletes its rows; expected missingRow: Wait or Ignore, or a "
        "constant column in the key of both that tells their rows apart"
    }


def test_two_that_write_the_same_columns() -> None:
    other = claim("two", "b>c", inserts=False, columns=frozenset({"price", "stock"}))
    assert told(claim("one", "a>c"), other) == {
        "two": "table c: column price is written by Reflection one; expected other columns, or a constant column in "
        "the key of both that tells their rows apart"
    }


def test_one_that_writes_the_key_of_another() -> None:
    other = claim("two", "b>c", inserts=False, key=frozenset({"code"}), columns=frozenset({"id"}))
    assert "column id is written by Reflection one" in told(claim("one", "a>c"), other)["two"]


def test_contributors_of_other_columns_are_fine() -> None:
    others = [claim(n, f"{n}>c", inserts=False, columns=frozenset({n})) for n in ("x", "y")]
    assert told(claim("one", "a>c"), *others) == {}


def test_rows_told_apart_by_a_constant_are_fine() -> None:
    key = frozenset({"id", "region"})
    eu, us = (claim(n, f"{n}>c", key=key, constants={"region": n}) for n in ("eu", "us"))
    assert told(eu, us) == {}
    assert list(told(eu, us, claim("us2", "d>c", key=key, constants={"region": "us"}))) == ["us2"]


@pytest.mark.parametrize("constants", [{}, {"other": "eu"}])
def test_a_constant_that_only_one_of_them_has_tells_nothing_apart(constants: dict[str, str]) -> None:
    assert told(claim("one", "a>c", constants={"region": "eu"}), claim("two", "b>c", constants=constants))


def test_what_a_reflection_writes_may_be_unknown() -> None:
    assert told(claim("one", "a>c", columns=None), claim("two", "b>c", inserts=False)) == {}
