"""Text is read as Kubernetes reads it, and an error says where without repeating what may be a password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantograph.api import documents
from tests.unit.api.everything import TEXT


def one(text: str) -> Any:
    (document,) = documents.from_yaml(text)
    assert document.problem == ""
    return document.body


def problem(text: str) -> str:
    found = [document.problem for document in documents.from_yaml(text) if document.problem]
    assert len(found) == 1
    return found[0]


def test_empty_documents_are_counted_and_left_out() -> None:
    text = "# a comment\n---\na: 1\n---\n# nothing\n---\nb: 2\n"
    assert [(document.number, document.body) for document in documents.from_yaml(text)] == [
        (1, {"a": 1}),
        (3, {"b": 2}),
    ]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n---\n"])
def test_a_text_may_hold_nothing(text: str) -> None:
    assert list(documents.from_yaml(text)) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("12:30:00", "12:30:00"),
        ("22:00", "22:00"),
        ("12:30.5", "12:30.5"),
        ("5", 5),
        ("0o17", "0o17"),
        ("1.5", 1.5),
        ("yes", True),
        ("'yes'", "yes"),
        ("~", None),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
    ],
)
def test_scalars_are_those_of_kubernetes(text: str, value: Any) -> None:
    assert one(f"a: {text}") == {"a": value}


def test_anchors_and_merges_are_followed() -> None:
    text = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [{a: 9}, *x]}\nl: [*x]\n"
    assert one(text) == {
        "x": {"a": 1, "b": 2},
        "y": {"a": 1, "b": 3},
        "z": {"a": 9, "b": 2},
        "l": [{"a": 1, "b": 2}],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key a stands twice"),
        ("x:\n  a: 1\n  a: 1\n", "line 3, column 3: the key a stands twice"),
        ("5: a", "line 1, column 1: a key that is no text; put it in quotes"),
        ("yes: a", "line 1, column 1: a key that is no text; put it in quotes"),
        ("a: [1", "line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a:\n\t b: 1", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: !!int x", "line 1, column 4: not the number that its tag says; if it is text, put it in quotes"),
        ('a: "\\ud83d"', f"line 1, column 4: {documents.HALF}"),
        ("a: {<<: 5}", "line 1, column 9: << takes a mapping"),
        ("a: \x07", "no YAML: it has characters that cannot be in a text"),
        ("[" * 150 + "]" * 150, "line 1, column 102: more than 100 levels deep"),
        ("[" * 50_000, "more than 100 levels deep"),
        (
            "a: &x 1\nb: &x 2",
            "line 2, column 4: an anchor (&) that is set a second time; a text that begins with & needs quotes",
        ),
        ("a: &x [*x]", "line 1, column 4: more than 100 levels deep"),
    ],
)
def test_what_is_wrong_has_its_place(text: str, said: str) -> None:
    assert problem(text) == said


@pytest.mark.parametrize(
    "text", ["*hunter2", "!hunter2", "!hunter2 x", "'hunter2", '"\\hunter2"', "@hunter2", "%hunter2"]
)
def test_a_password_that_is_no_yaml_is_not_repeated(text: str) -> None:
    assert "unter2" not in problem(f"password: {text}")


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "more than 1,000,000 values, aliases expanded" in problem(text)


def test_documents_before_one_that_is_no_yaml_are_read() -> None:
    found = list(documents.from_yaml("a: 1\n---\nb: [\n"))
    assert found[0] == documents.Document(1, {"a": 1})
    assert "line 4" in found[1].problem


def test_documents_after_one_with_a_key_twice_are_read() -> None:
    found = list(documents.from_yaml("a: 1\na: 1\n---\nb: 1\n"))
    assert [document.number for document in found] == [1, 2]
    assert found[1].body == {"b": 1}


SCALARS = st.sampled_from(
    [
        "a",
        "5",
        "'5'",
        "yes",
        "'yes'",
        "~",
        "",
        "1.5",
        "2026-01-01",
        "12:30",
        '"12:30"',
        "!!str 5",
        "0x1F",
        "1_000",
        "=",
        "- a",
    ]
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c d", "5", "<<", "? e"]), SCALARS), max_size=5))
def test_the_fast_and_the_slow_loader_read_the_same(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in lines)
    fast = list(documents.from_yaml(text))
    # What is very deep is for the slow one; in a document of its own it changes nothing else.
    slow = list(documents.from_yaml(f"{text}---\n{'[' * 101}{']' * 101}\n"))
    if not (fast and fast[-1].number is None):
        assert slow[: len(fast)] == fast


def test_hundreds_of_tables_are_read_at_once() -> None:
    found = list(documents.from_yaml(f"{TEXT}\n---\n" * 200))
    assert len(found) == 600


def test_json_may_be_indented_with_tabs() -> None:
    assert list(documents.from_json('{\n\t"a": 1}')) == [documents.Document(1, {"a": 1})]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "the key a stands twice"),
        ('{"a": "\\ud83d"}', documents.HALF),
        ('{"a": 1,}', "line 1, column "),
        ("[" * 100_000, "more than 100 levels deep"),
    ],
)
def test_wrong_json_has_its_place(text: str, said: str) -> None:
    (document,) = documents.from_json(text)
    assert document.problem.startswith(said)


@pytest.mark.parametrize("read", [documents.from_yaml, documents.from_json])
def test_what_is_not_utf_8_is_told_and_not_read(read: Callable[[str], Iterator[documents.Document]]) -> None:
    text = b'{"a": "\xff"}'.decode("utf-8", "surrogateescape")  # standard input, in some locales
    assert [one.problem for one in read(text)] == ["cannot be read: it is not text in UTF-8"]
