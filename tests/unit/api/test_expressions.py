"""The SQL of a manifest: one expression over the columns of a row, refused by name where it is anything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pantograph import errors
from pantograph.api import expressions

ENGINES = ("postgresql", "mariadb", "sqlite")
DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite", "mssql", "firebird")
of_each_engine = pytest.mark.parametrize("dialect", ENGINES)


def refused(text: str, dialect: str) -> str:
    with pytest.raises(errors.SpecError) as caught:
        expressions.judge(text, dialect, "spec.where")
    assert caught.value.path == "spec.where"
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("spec.where: ")
    assert line.endswith("; expected one expression over the columns of a row")
    return line.removeprefix("spec.where: ").removesuffix("; expected one expression over the columns of a row")


@of_each_engine
@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("price * qty", ("price", "qty")),
        ("status <> 'draft'", ("status",)),
        ("name = 'it''s; -- (no) comment /* here'", ("name",)),
        ("coalesce(a, b) in (1, 2)", ("a", "b")),
        ("case when a > 1.5e3 then b else 'c' end", ("a", "b")),
        ("cast(a as char(3)) like '%x%'", ("a",)),
        ("not (a is null or b between 1 and 2)", ("a", "b")),
        ("orders.total % 3 = 0", ("total",)),
        ("a\n  = 1\tand b = 2", ("a", "b")),
        ("now_at > 3", ("now_at",)),
        ("größe > 3", ("größe",)),
        ("a = 'select 1 from b'", ("a",)),
        ("'a' = '🙂'", ()),
    ],
)
def test_an_expression_is_taken_and_its_columns_are_known(dialect: str, text: str, columns: tuple[str, ...]) -> None:
    found = expressions.judge(text, dialect, "spec.where")
    assert found.sql == text
    assert found.columns == columns


@pytest.mark.parametrize(
    ("dialect", "text", "columns"),
    [
        ("postgresql", 'Price::numeric(12,2) + "Qty"', ("price", "Qty")),
        ("postgresql", "extract(year from made at time zone 'utc') = 2024", ("made",)),
        ("postgresql", r"name ~ '^\d+$' and tags @> '{a}' and data ? 'k'", ("name", "tags", "data")),
        ("postgresql", r"name = E'a\n'", ("name",)),
        ("postgresql", "tags[1:2] = array['a']", ("tags",)),
        ("mariadb", "timestampdiff(day, a, `b c`) > 3", ("b c", "a")),
        ("mariadb", 'name = "it"', ("name",)),
        ("mariadb", r"name like 'a\\%' and x <=> null", ("name", "x")),
        ("mariadb", "unix_timestamp(a) > 3 and date_format(a, '%Y') = '2024'", ("a",)),
        ("sqlite", "strftime('%Y', made) = '2024' and [a b] glob '*x*'", ("made", "a b")),
        ("sqlite", "max(a, b) > 3 and name = 'now'", ("a", "b", "name")),
    ],
)
def test_an_engines_own_syntax_is_taken(dialect: str, text: str, columns: tuple[str, ...]) -> None:
    assert expressions.judge(text, dialect, "spec.where").columns == columns


@of_each_engine
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("a; drop table x", "has ; (character 2), that ends a statement"),
        ("drop table x", "drop begins a statement"),
        ("delete from x", "delete begins a statement"),
        ("a) or (1 = 1", "has a ) that closes nothing (character 2)"),
        ("f(a]", "has a ] that closes nothing (character 4)"),
        ("((a)", "leaves a ( open (character 1)"),
        ("a = 'b", "leaves a quote open (character 5)"),
        ("a = 1 -- b", "has a comment (character 7) (minus minus needs a blank between)"),
        ("a /* b */ = 1", "has a comment (character 3)"),
        ("a, b", "has a comma outside of brackets (character 2)"),
        ("a as b", "has an as outside of brackets (character 3), which names what it yields"),
        ("orders.*", "has a * in place of a column (character 8)"),
        ("a = (select 1)", "select makes a subquery, which reads other tables"),
        ("a in (TABLE b)", "table makes a subquery, which reads other tables"),
        ("exists (values (1))", "values makes a subquery, which reads other tables"),
        ("a > count(*)", "count() is an aggregate, which reads other rows"),
        ("max(a) > 1", "max() is an aggregate, which reads other rows"),
        ("lag(a, 1)", "lag() is a window function, which reads other rows"),
        ("f(a) over (order by b)", "over makes a window function, which reads other rows"),
        ("a < Current_Date", "current_date depends on the clock, so it would change with no change of the row"),
        ("a\0", "has a character that nobody sees (U+0000, character 2)"),
        ("a = 'b\0'", "has a zero byte (character 7)"),
        ("a\u200b", "has a character that nobody sees (U+200B, character 2)"),
        ("a\u00a0= 1", "has a character that nobody sees (U+00A0, character 2)"),
        ("a = ＇b＇", "has a character outside of quotes that means nothing there (U+FF07)"),
        ("1or a", "has a number that runs into a word (character 1)"),
        ("u&'a' = b", "has U& joined to a quote (character 1); write the letters themselves"),
        ("_gbk'a' = b", "has _gbk joined to a text (character 1); put a blank between, or leave it out"),
        ("(" * 101 + ")" * 101, "has more than 100 brackets in one another"),
    ],
)  # fmt: skip
def test_what_is_more_than_an_expression_is_refused_by_name(dialect: str, text: str, said: str) -> None:
    if "]" in text and dialect == "mariadb":
        said = "has ] (character 4), outside of quotes"
    assert refused(text, dialect) == said


TWICE = "write the quote twice instead"
CLOCK, CHANCE, SESSION, SERVER = "the clock", "chance", "the session", "the server"


@pytest.mark.parametrize(
    ("dialect", "text", "what", "why"),
    [
        ("postgresql", "made > now()", "now()", CLOCK),
        ("postgresql", "made > pg_catalog . NOW ( )", "now()", CLOCK),
        ("postgresql", 'made > "now"()', "now()", CLOCK),
        ("postgresql", "age(made) > x", "age() with one argument", CLOCK),
        ("postgresql", "random() < 1", "random()", CHANCE),
        ("postgresql", "gen_random_uuid()", "gen_random_uuid()", CHANCE),
        ("postgresql", "nextval('s')", "nextval()", SESSION),
        ("postgresql", "a = session_user", "session_user", SESSION),
        ("postgresql", "current_setting('x') = a", "current_setting()", SESSION),
        ("postgresql", "pg_sleep(1) is null", "pg_sleep()", SERVER),
        ("mariadb", "made > NOW(3)", "now()", CLOCK),
        ("mariadb", "made > sysdate()", "sysdate()", CLOCK),
        ("mariadb", "unix_timestamp() > a", "unix_timestamp() with no argument", CLOCK),
        ("mariadb", "rand() < a", "rand()", CHANCE),
        ("mariadb", "uuid() = a", "uuid()", CHANCE),
        ("mariadb", "user() = a", "user()", SESSION),
        ("mariadb", "connection_id() = a", "connection_id()", SESSION),
        ("mariadb", "next value for s", "next value", SESSION),
        ("mariadb", "nextval(s)", "nextval()", SESSION),
        ("mariadb", "load_file('a')", "load_file()", SERVER),
        ("mariadb", "sleep(1)", "sleep()", SERVER),
        ("sqlite", "date() > a", "date() with no argument", CLOCK),
        ("sqlite", "strftime('%s') > a", "strftime() with one argument", CLOCK),
        ("sqlite", "a > datetime('now', '-1 day')", "'now'", CLOCK),
        ("sqlite", "random() < a", "random()", CHANCE),
        ("sqlite", "last_insert_rowid() = a", "last_insert_rowid()", SESSION),
        ("sqlite", "load_extension('a')", "load_extension()", SERVER),
    ],
)
def test_what_changes_with_no_event_is_refused_by_name(dialect: str, text: str, what: str, why: str) -> None:
    assert refused(text, dialect) == f"{what} depends on {why}, so it would change with no change of the row"


@pytest.mark.parametrize(
    ("dialect", "text", "said"),
    [
        ("mariadb", "@x > a", "has @ (character 1), that names a variable of the session"),
        ("mariadb", "@@hostname = a", "has @ (character 1), that names a variable of the session"),
        ("mariadb", "a # b", "has a comment (character 3)"),
        ("mariadb", r"a = '\' or 1 = 1 or '", "has a quote after a backslash (character 6); " + TWICE),
        ("postgresql", r"a = E'\' or 1 = 1 or '", "has a quote after a backslash (character 7); " + TWICE),
        ("postgresql", "a = $$b$$", "has $ (character 5), that opens a text or names a parameter"),
        ("postgresql", "'b'::regclass = a", "regclass reads the catalog, which can change with no change of the row"),
        ("sqlite", "a = ?", "has ? (character 5), that names a parameter"),
        ("sqlite", "a = :b", "has : (character 5), that names a parameter"),
    ],
)  # fmt: skip
def test_what_an_engine_reads_in_its_own_way_is_refused(dialect: str, text: str, said: str) -> None:
    assert refused(text, dialect) == said


def test_columns_that_a_table_does_not_have_are_named() -> None:
    assert expressions.judge("Status = emial", "postgresql", "p").unknown(["status", "email"]) == ("emial",)
    assert expressions.judge('"Status" = 1', "postgresql", "p").unknown(["status"]) == ("Status",)
    assert expressions.judge("Status = 1", "sqlite", "p").unknown(["status"]) == ()


def test_what_the_parser_does_not_know_has_no_columns_and_is_not_refused() -> None:
    assert expressions.judge("a mod b", "sqlite", "p").unknown(["b"]) == ()


def test_a_refusal_repeats_no_text() -> None:
    assert "hunter2" not in refused("a = 'hunter2' and now() > 'hunter2'", "postgresql")


PIECES = st.sampled_from(
    ["'", '"', "`", "[", "]", "(", ")", "\\", "--", "/*", "*/", "#", ";", "$$", "$a$", "E'", "U&'", "x'", "N'", "\0",
     "\n", " ", "a", "1", ",", ".", "or", "select", "now()", "@x", "::", ":=", "{", "}", "é", "\u2028",
     "％", "\\'", "''"]
)  # fmt: skip


@settings(deadline=None)  # the first call imports the parser
@given(st.sampled_from(DIALECTS), st.lists(PIECES, max_size=14).map("".join) | st.text())
def test_whatever_is_written_is_an_expression_or_one_line(dialect: str, text: str) -> None:
    found, told = None, ""
    try:
        found = expressions.judge(text, dialect, "spec.where")
    except errors.SpecError as error:
        told = str(error)
    assert (found is None) == bool(told)
    assert "\n" not in told
    assert found is None or found.unknown([]) == found.columns


@pytest.mark.parametrize(
    "text", ["numeric(12,2)", "character varying (3)", "timestamp with time zone", '"My Type"[]', "shop.money"]
)
def test_a_type_is_taken(text: str) -> None:
    expressions.judge_type(text, "postgresql", "spec.columns[0].type")


def test_a_type_of_texts_is_taken() -> None:
    expressions.judge_type("enum('a','it''s')", "mariadb", "spec.columns[0].type")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("int); drop table x; --", "has ; (character 5), that ends a statement"),
        ("int), b int", "has a ) that closes nothing (character 4)"),
        ("int, b int", "has a comma outside of brackets (character 4)"),
        ("int default 3", "has default (character 5)"),
        ("int references b", "has references (character 5)"),
        ("int check (a > 3)", "has check (character 5)"),
        ("int not null", "has not (character 5)"),
        ("int 'a'", "has a text (character 5)"),
        ("int = 3", "has a = (character 5)"),
        ("int -- x", "has a comment (character 5) (minus minus needs a blank between)"),
    ],
)
@pytest.mark.parametrize("dialect", ENGINES)
def test_what_is_more_than_a_type_is_refused(dialect: str, text: str, said: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        expressions.judge_type(text, dialect, "spec.columns[0].type")
    assert str(caught.value).startswith(f"spec.columns[0].type: {said}")
    assert str(caught.value).endswith("; expected a type and nothing else")


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize(
    "text",
    [
        "update totals set qty = :qty, name = 'a:b; c' where id = :id",
        "insert into log (id, at) values (:id, now())",
        "with old as (select 1) delete from totals where id = :id",
    ],
)
def test_a_statement_of_rows_is_taken(dialect: str, text: str) -> None:
    expressions.judge_statement(text, dialect, "spec.statement")


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("update t set a = 1; commit", "has ; (character 19), that ends a statement"),
        ("commit", "begins with commit"),
        ("drop table t", "begins with drop"),
        ("(select 1)", "begins with something else"),
        ("update t set a = 'b", "leaves a quote open (character 18)"),
        ("update t set a = (1", "leaves a ( open (character 18)"),
        ("delete from t -- all of it", "has a comment (character 15) (minus minus needs a blank between)"),
    ],
)
def test_what_is_more_than_a_statement_of_rows_is_refused(dialect: str, text: str, said: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        expressions.judge_statement(text, dialect, "spec.statement")
    assert str(caught.value) == (
        f"spec.statement: {said}; expected one statement without ';' or comments that begins with call, delete, "
        "insert, merge, replace, select, update, with"
    )
