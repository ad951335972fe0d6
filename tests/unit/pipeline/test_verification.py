"""Values of a comparison, and what is decided without a database."""

import dataclasses
import math

import pytest

from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind, LogicalType
from pantograph.pipeline import verification
from pantograph.pipeline.sides import Sum, mixed, normal
from pantograph.pipeline.verification import Difference, Result

DOUBLE = LogicalType(Kind.FLOAT, bits=64)
SINGLE = LogicalType(Kind.FLOAT, bits=32)
JSON = LogicalType(Kind.JSON, native="json")
JSONB = LogicalType(Kind.JSON, native="jsonb")
INTEGER = LogicalType(Kind.INTEGER, bits=64)
TEXT = LogicalType(Kind.TEXT)


def test_only_a_complete_comparison_without_differences_is_equal():
    assert Result("a/b", rows=5).equal
    assert Result("a/b", in_flight=3).equal
    assert not Result("a/b", differing={"missing": 1}).equal
    assert Result("a/b", differing={"missing": 1, "different": 1}, repaired=2).equal
    assert not Result("a/b", differing={"missing": 1, "different": 1}, repaired=1).equal
    assert not Result("a/b", incomplete="Sweeping").equal
    assert not Result("a/b", parked=1).equal


def test_a_comparison_is_settled_when_another_one_would_find_nothing_to_do():
    assert Result("a/b", differing={"different": 1}, not_holding={"qty": 1}).settled
    assert Result("a/b", differing={"extra": 2000}, held=2000).settled
    assert not Result("a/b", differing={"different": 1}, noted=1).settled
    assert not Result("a/b", incomplete="Stopped").settled
    assert not Result("a/b", in_flight=1).settled


def test_a_difference_says_in_which_way():
    assert Difference((1,), "missing").how == "missing"
    assert Difference((1,), "different", ("qty", "name")).how == "qty, name"


@pytest.mark.parametrize("value", [0.1, 1 / 3, -1e-300, 5e-324, 1.7976931348623157e308, 2.0**60])
def test_doubles_are_equal_to_the_last_bit(value):
    assert normal(value, DOUBLE, DOUBLE) == normal(float(repr(value)), DOUBLE, DOUBLE)
    assert normal(value, DOUBLE, DOUBLE) != normal(math.nextafter(value, 0), DOUBLE, DOUBLE)


def test_floats_are_compared_at_the_coarser_precision():
    # What a 32-bit column prints as 0.1 is 0.10000000149011612 where a 64-bit column took its bits.
    assert normal(0.1, SINGLE, DOUBLE) == normal(0.10000000149011612, DOUBLE, SINGLE)
    assert normal(0.1, SINGLE, DOUBLE) != normal(0.1000001, DOUBLE, SINGLE)
    assert normal(1e300, DOUBLE, SINGLE) == normal(1e300, DOUBLE, SINGLE)


def test_a_zero_has_no_sign_and_nan_equals_itself():
    assert normal(-0.0, DOUBLE, DOUBLE) == normal(0, DOUBLE, DOUBLE)
    assert normal(math.nan, DOUBLE, DOUBLE) == normal(math.nan, DOUBLE, DOUBLE)
    assert normal(math.inf, SINGLE, DOUBLE) != normal(-math.inf, DOUBLE, SINGLE)
    assert normal(None, DOUBLE, DOUBLE) != normal(0.0, DOUBLE, DOUBLE)


def test_json_that_an_engine_writes_anew_is_the_same_json():
    assert normal('{"b": 2, "a": [1.50, 1e2]}', JSON, JSONB) == normal('{"a": [1.5, 100], "b": 2}', JSONB, JSON)
    assert normal('{"a": 1}', JSON, JSONB) != normal('{"a": "1"}', JSONB, JSON)
    assert normal('{"a": 1}', JSON, JSONB) != normal('{"a": 2}', JSONB, JSON)
    assert normal("[0.0]", JSON, JSONB) == normal("[0]", JSONB, JSON)
    # Numbers that no double tells apart.
    assert normal("[12345678901234567890.1]", JSON, JSONB) != normal("[12345678901234567890.2]", JSONB, JSON)
    # What cannot be parsed is itself.
    assert normal("{", JSON, JSONB) == normal("{", JSONB, JSON)


BOOLEAN = LogicalType(Kind.BOOLEAN)
DECIMAL = LogicalType(Kind.DECIMAL)
CENTS = LogicalType(Kind.DECIMAL, precision=12, scale=2)
MICROS, TENTHS = LogicalType(Kind.TIMESTAMP, fraction=6), LogicalType(Kind.TIMESTAMP, fraction=4)
PADDED = LogicalType(Kind.TEXT, length=5, folding=True)


@pytest.mark.parametrize(
    ("here", "there", "value", "same", "other"),
    [
        (BOOLEAN, INTEGER, True, 1, 0),
        (INTEGER, DECIMAL, 5, "5.00", "5.01"),
        (DECIMAL, CENTS, "12.345", "12.35", "12.34"),
        (DECIMAL, DECIMAL, "-0.00", "0", "0.001"),
        (DECIMAL, DECIMAL, "1E+3", "1000.0", "1000.1"),
        (DECIMAL, DECIMAL, "NaN", "NaN", "0"),
        (DECIMAL, DECIMAL, "1" * 60 + ".5", "1" * 60 + ".50", "1" * 60 + ".51"),
        (DECIMAL, TEXT, "12.50", "12.50", "12.5"),
        (INTEGER, TEXT, 7, "7", "07"),
        (MICROS, TENTHS, "2024-02-29 23:59:59.123456", "2024-02-29 23:59:59.1234", "2024-02-29 23:59:59.1235"),
        (MICROS, MICROS, "2024-02-29 23:59:59", "2024-02-29 23:59:59.000000", "2024-02-29 23:59:59.000001"),
        (MICROS, TENTHS, "infinity", "infinity", "-infinity"),
        (TEXT, TEXT, "a", "a", "a "),
        (TEXT, PADDED, "a", "a  ", " a"),
        (LogicalType(Kind.BYTES), LogicalType(Kind.BYTES), b"a", memoryview(b"a"), b"b"),
    ],
)  # fmt: skip
def test_values_of_two_engines_are_equal_where_both_hold_the_same(here, there, value, same, other):
    assert normal(value, here, there) == normal(same, there, here)
    assert normal(value, here, there) != normal(other, there, here)
    assert normal(value, here, there) != normal(None, there, here)


def test_a_row_hash_takes_in_every_value_and_its_place():
    rows = [(7, ("a", "b")), (7, ("ab", "")), (7, ("b", "a")), (8, ("a", "b")), (7, ("a", "-"))]
    assert len({mixed(*row) for row in rows}) == len(rows)


def test_sums_wrap_and_count():
    total = Sum(1, 2**64 - 1).plus(Sum(2, 3))
    assert total == Sum(3, 2)


def mirror(*types):
    columns = tuple(Mapped(f"c{i}", f'"c{i}"', here, "x", there, "x") for i, (here, there) in enumerate(types))
    capture = Capture("id", "s", "t", tuple(c.destination for c in columns[:-1]), (), "events")
    return Mirror("a/b", "m", "s", capture, ("s", "t"), ("s", "t"), columns)


def test_only_integers_are_walked_by_ranges_of_values():
    assert verification._same_order(mirror((INTEGER, INTEGER), (TEXT, TEXT)))
    assert verification._same_order(mirror((INTEGER, INTEGER), (INTEGER, INTEGER), (TEXT, TEXT)))
    assert not verification._same_order(mirror((INTEGER, INTEGER), (TEXT, TEXT), (TEXT, TEXT)))
    # Digits in a text sort in another order than numbers.
    assert not verification._same_order(mirror((INTEGER, TEXT), (TEXT, TEXT)))
    decimal = LogicalType(Kind.DECIMAL, precision=20)
    assert not verification._same_order(mirror((INTEGER, decimal), (TEXT, TEXT)))


def test_differing_buckets_go_in_portions_that_can_be_held():
    sums = {n: Sum(rows=40, hashes=n) for n in range(10)}
    others = {n: dataclasses.replace(one, hashes=one.hashes + (n % 2)) for n, one in sums.items()}
    others[11] = Sum(1, 1)
    differ = verification._unequal(sums, others)
    assert differ == {1, 3, 5, 7, 9, 11}
    portions = list(verification._portions(differ, sums, others, 100))
    assert portions == [[1, 3], [5, 7], [9, 11]]
    # One that is too large by itself still goes.
    assert list(verification._portions({4}, {4: Sum(1000, 1)}, {}, 100)) == [[4]]
