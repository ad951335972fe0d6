"""What is printed reads well, whatever is in it."""

import io
import json

import pytest

from pantograph.cli import terminal


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (0.9996, "1.0 s"),
        (9.96, "10.0 s"),
        (42, "42 s"),
        (119, "119 s"),
        (150, "2 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_a_duration_has_as_many_digits_as_matter(seconds, said):
    assert terminal.span(seconds) == said


def test_a_table_is_aligned_and_has_no_blanks_at_its_end():
    text = terminal.table(("NAME", "ROWS"), [("orders", "1"), ("x", "")])
    assert text.splitlines() == ["NAME     ROWS", "orders   1", "x        -"]


def test_a_line_of_the_log_can_be_taken_apart_again():
    stream = io.StringIO()
    terminal.Log(stream).event(
        "failed", reflection="orders", message='no table "x"\nin = y', empty="", none=None, lag=0.25
    )
    (line,) = stream.getvalue().splitlines()
    at, _, rest = line.partition(" ")
    assert at.endswith("Z")
    assert rest.startswith("failed reflection=orders message=")
    assert rest.endswith(" lag=0.25")
    assert json.loads(rest.partition("message=")[2].removesuffix(" lag=0.25")) == 'no table "x"\nin = y'


def test_a_complaint_has_the_program_s_name_on_each_line(capsys):
    terminal.complain("one\ntwo")
    assert capsys.readouterr().err == "pantograph: one\npantograph: two\n"


def test_the_default_namespace_is_not_said():
    assert terminal.short("default/orders") == "orders"
    assert terminal.short("shop/orders") == "shop/orders"
