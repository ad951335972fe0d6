"""Whatever is written into a manifest is refused in one line or does no harm: nothing gets out of its brackets or its
quotes. On each engine a canary stands beside the table; it is neither changed nor read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role, verbatim
from tests.support.source import Canary, fuzzed

ENGINES = ("pg_db", "my_db", "sqlite_db")
each_engine = pytest.mark.parametrize("engine", ENGINES)

ATTACKS = (
    "1); drop table canary; --", "1); delete from canary; select (1", "1; truncate canary",
    "1) or exists (select 1 from canary", "(select count(*) from canary) > 0", "id in (table canary)",
    "id = any (array(select id from canary))", "1) union select id from canary where (1 = 1",
    "id = (with c as (delete from canary returning 1) select 1)",
    "query_to_xml('select * from canary', true, true, '') is null", "dblink('', 'drop table canary') is null",
    "case when (select 1 from canary) then 1 end", "canary.id = 1", "canary is null", "id > @a := 1", "id into @a",
    "load_extension('x')", "id) from orders, canary where (1 = 1", "1) procedure analyse (", "id) for update --",
    "id) into outfile '/tmp/x' from canary where (1", "values (1)", "json_each(name)", "next value for canary",
)  # fmt: skip
PIECES = (
    "'", "''", '"', '""', "`", "``", "[", "]", "(", ")", "\\", "\\'", '\\"', "\\\\", "--", "-- ", "/*", "*/", "/*!",
    "#", ";", "$$", "$a$", "E'", "e'", "U&'", "U&\"", "x'", "N'", "n'", "_utf8'", "b'", "q'{", "\0", "\n", "\r",
    "\u2028", "\u00a0", "\ufeff", "\u02bc", "＇", "﹔", "；", "é", "🙂", "\ud800", "\x1a", "\x08", " ", "a", "id",
    "name", "1", "1e", ",", ".", "::", ":", ":id", ":k0", "%", "%s", "%(a)s", "{", "}", "?", "@", "@@", ":=", "or",
    "and", "=", "<", "||", "null", "not", "like", "in", "case when", "then", "end", "select", "from canary",
    "canary", "drop table canary", "union", "where", "over ()",
)  # fmt: skip
QUOTES = ("'", '"', "`", "$$", "[", "E'", "U&'", "\\'", "/*", "")
MIXED = st.lists(st.sampled_from(PIECES) | st.sampled_from(ATTACKS), max_size=8)


@st.composite
def attempts(draw):
    """Attacks bare and behind something that might be taken for the end of a text, a name or a comment."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=30))
    inside = draw(st.sampled_from(["", " "])).join(draw(MIXED))
    opening, closing = draw(st.sampled_from(QUOTES)), draw(st.sampled_from(QUOTES))
    return draw(st.sampled_from(["{}", "name = {}", "name = {} or 1 = 1", "({})"])).format(opening + inside + closing)


SERVER_SETTINGS = {
    "pg_db": ["alter database {} set standard_conforming_strings = off", "alter database {} set backslash_quote = on"],
    "my_db": ["set global sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE'"],
}


@pytest.mark.full
@pytest.mark.parametrize("unusual", [False, True], ids=["usual", "unusual"])
@each_engine
def test_no_expression_gets_out(canary, request, engine, unusual):
    here = canary(engine)
    with contextlib.ExitStack() as stack:
        if unusual and engine in SERVER_SETTINGS:
            if engine == "my_db":
                (before,) = here.database.execute("select @@global.sql_mode", role="superuser")[0]
                stack.callback(here.database.execute, f"set global sql_mode = '{before}'", role="superuser")
            for statement in SERVER_SETTINGS[engine]:
                here.database.execute(statement.format(here.database.name), role="superuser")
            here.source.session.close()
            here.source.session = Session(here.source.dialect, Role.SIDE)
        _attack(here)


def _attack(here: Canary) -> None:
    source, taken = here.source, []
    place = source.dialect.table(source.shape.schema, source.shape.name)

    @fuzzed(300)
    @given(attempts(), st.booleans())
    def attack(text, condition):
        wrong = None
        try:
            source.check(text, condition=condition)
        except errors.SpecError as error:
            wrong = error
        if wrong is not None:
            assert wrong.path == "spec.where"
            assert "\n" not in str(wrong)
            assert str(wrong).encode()
        else:
            sql = f"select id from {place} where ({verbatim(text.strip())})" if condition else (
                f"select ({verbatim(text.strip())}) as x from {place}"
            )  # fmt: skip
            with source.session.step("test"):
                assert here.tables(source.session, sql) <= {"orders"}, text
            taken.append(text)

    attack()
    for text in ATTACKS:
        source.refused(text)
    assert here.alive()
    assert taken  # or nothing was tried in earnest
