"""A column taken over whole is what its values are one by one, and is refused where one of them is."""

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pantograph import errors
from pantograph.dialects.sqlite import values
from pantograph.model.converters import Columnwise, converted, passing
from pantograph.model.types import Kind, LogicalType

TYPES = [
    *(LogicalType(kind, bits=64) for kind in Kind if kind not in (Kind.OTHER, Kind.DECIMAL)),
    LogicalType(Kind.DECIMAL),
    LogicalType(Kind.DECIMAL, precision=9, scale=0),
    LogicalType(Kind.DECIMAL, precision=12, scale=2),
]
STORED = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2**53 + 1, -0.0, 1.5, 0.1 + 0.2, 1e300, math.inf, math.nan]),
    st.floats(),
    st.decimals(-999, 999, places=2).map(float),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(["2026-01-02", "2026-01-02 03:04:05.678", "2026-01-02T03:04Z", "03:04:05", "", "12.30", "NaN"]),
)


@pytest.mark.parametrize("type_", TYPES, ids=lambda one: f"{one.kind}-{one.precision}-{one.scale}")
@given(column=st.one_of(st.lists(STORED, min_size=1), STORED.map(lambda one: [one, one, None])))
@example(column=[1.0, 2, None, 2**53 + 1])
@example(column=[0, 1, None])
@example(column=["2026-01-02\n2026-01-02", "03:04:05\n03:04:05", "2026-01-02 03:04:05\n2026-01-02 03:04:05"])
@example(column=["2026-01-02 03:04:05\n2026-01-02 03:04:05"])
def test_a_column_of_sqlite_is_what_its_values_are(type_, column):
    for converter in (values.decoder(type_), values.encoder(type_)):
        if converter is None:
            continue
        try:
            wanted = [None if value is None else converter(value) for value in column]
        except errors.Rejected:
            wanted = None
        try:
            found = [row[1] for row in converted([("k", value) for value in column], [(1, converter)])]
        except errors.Rejected:
            found = None
        assert list(map(repr, found or ())) == list(map(repr, wanted or ()))
        assert (found is None) is (wanted is None)


def test_only_the_places_named_are_converted():
    rows = [(1, "a", None), (2, None, Decimal(3))]
    assert converted(rows, [(0, str), (2, str)]) == [("1", "a", None), ("2", None, "3")]
    assert converted(rows, []) is rows
    assert converted([], [(0, str)]) == []


def test_a_column_of_the_types_that_may_pass_is_not_asked_value_by_value():
    def never(value):
        raise AssertionError(value)

    convert = Columnwise(never, passing(int))
    assert converted([(1,), (None,)], [(0, convert)]) == [(1,), (None,)]
    with pytest.raises(AssertionError):
        converted([(1,), (True,)], [(0, convert)])
