"""`:name` in our SQL becomes the driver's parameter, and nothing else does."""

import pytest

from pantograph.dialects.base import verbatim
from pantograph.dialects.parameters import bound


@pytest.mark.parametrize(
    ("style", "text", "order"),
    [
        ("pyformat", "a = %(x)s and b < %(y_1)s or a > %(x)s", None),
        ("format", "a = %s and b < %s or a > %s", ("x", "y_1", "x")),
        ("qmark", "a = ? and b < ? or a > ?", ("x", "y_1", "x")),
    ],
)
def test_each_style_has_its_own_parameters(style, text, order):
    assert bound(style, "a = :x and b < :y_1 or a > :x") == (text, order)


@pytest.mark.parametrize("sql", ["select now()::text", "select 'at :x'", 'select "from :to"', "select `a :b`", "12:30"])
def test_what_only_looks_like_a_parameter_stays_as_it_is(sql):
    assert bound("qmark", sql) == (sql, ())


def test_the_users_text_keeps_its_colons():
    assert bound("qmark", f"{verbatim('x = :y and z::text')} and k = :k") == ("x = :y and z::text and k = ?", ("k",))


def test_percent_signs_are_doubled_where_the_driver_reads_them():
    assert bound("format", "a like 'x%' and b = :b")[0] == "a like 'x%%' and b = %s"
    assert bound("qmark", "a like 'x%' and b = :b")[0] == "a like 'x%' and b = ?"


def test_a_parameter_within_a_word_or_beside_another_colon_is_none():
    assert bound("qmark", "a:b :c: ::d (:e)") == ("a:b :c: ::d (?)", ("e",))
