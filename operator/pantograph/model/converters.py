"""Values of a batch from one form into another, a column at a time.

A Python call a value is what a batch costs most. Nearly every column holds values of one kind, in a form in which they
may go as they are or which one built-in takes them out of: a converter that is `Columnwise` says how, for the whole
column, and is called value by value only where that does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pantograph import errors

Converter = Callable[[Any], Any]
"""From one value that is not NULL to another. Raises `Rejected`."""
Whole = Callable[[Sequence[Any]], Sequence[Any] | None]
"""A column converted, with None for NULL; no column where it must be done by value, which then tells what is wrong."""

PIECE = 1000
"""Rows that are turned into columns and back together: their values stay in the processor's cache."""
_NULL = type(None)


class Columnwise:
    """A converter with a short way for whole columns. Both yield the same."""

    __slots__ = ("one", "whole")

    def __init__(self, one: Converter, whole: Whole) -> None:
        self.one, self.whole = one, whole

    def __call__(self, value: Any) -> Any:
        """One value."""
        return self.one(value)


def holds(column: Sequence[Any], *kinds: type) -> bool:
    """Are all values of exactly these types, or None?"""
    return {_NULL, *kinds}.issuperset(map(type, column))


def passing(*kinds: type) -> Whole:
    """Values of these very types go as they are."""
    return lambda column: column if holds(column, *kinds) else None


def converted(
    rows: Sequence[Any], converters: Sequence[tuple[int, Converter]], names: Sequence[str] = ()
) -> Sequence[Any]:
    """Rows with the values at some places converted, by place. names: of all places, by which a `Rejected` that a
    converter raises says what it is about; "" where a place has none, () where nobody asks."""
    if not converters or not rows:
        return rows
    result: list[Any] = []
    for start in range(0, len(rows), PIECE):
        result += _converted(rows[start : start + PIECE], converters, names)
    return result


def _converted(rows: Sequence[Any], converters: Sequence[tuple[int, Converter]], names: Sequence[str]) -> Sequence[Any]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    changed = False
    for place, convert in converters:
        try:
            column = _column(columns[place], convert)
        except errors.Rejected as error:
            if names and names[place]:
                error.at(names[place])
            raise
        changed = changed or column is not columns[place]
        columns[place] = column
    return list(zip(*columns, strict=True)) if changed else rows


def _column(column: Sequence[Any], convert: Converter) -> Sequence[Any]:
    if isinstance(convert, Columnwise):
        whole = convert.whole(column)
        if whole is not None:
            return whole
    return [None if value is None else convert(value) for value in column]
