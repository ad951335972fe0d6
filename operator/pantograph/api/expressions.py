"""The SQL that a manifest holds: one expression over the columns of a row, and nothing else.

It is put into brackets and evaluated by the source, so two things must hold. It does not get out of its brackets: the
words here are told apart as the engine tells them apart, in every session that we open, and whatever is not understood
is refused. And what it yields changes only when the row does, for only that is an event: a clock, chance, the session
or another table are refused by name.

Nothing here asks a database. Which functions a server has, and whether they can change their mind, only it knows:
`Dialect.judge_expression` asks it, with the `calls` found here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pantograph import errors

DEEPEST = 100
"""Brackets in one another: parsers, ours and the engines', recurse at each."""
EXPECTED = "expected one expression over the columns of a row"


@dataclass(frozen=True, slots=True)
class Call:
    """A function as it is called: its name without a schema, whether the name was quoted, how many arguments."""

    name: str
    arguments: int
    schema: str = ""
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL that may stand in brackets in a statement of its dialect.

    moments: it has a text that some engines take for the time at which it is read ('now', 'today').
    """

    sql: str
    dialect: str
    path: str
    calls: tuple[Call, ...] = ()
    moments: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names, in the letters that the engine knows them by; none where the parser does not know the
        syntax, which says nothing about the engine."""
        return _columns(self.sql, self.dialect)

    def unknown(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The columns it names that are not among these."""
        if self.dialect == "postgresql":
            return tuple(name for name in self.columns if name not in columns)
        folded = {name.casefold() for name in columns}
        return tuple(name for name in self.columns if name.casefold() not in folded)


def judge(text: str, dialect: str, path: str) -> Expression:
    """The one expression that a text is, in the SQL of a dialect (`postgresql`, `mariadb`, `sqlite`, …).

    path: the field, for the message. Raises `SpecError`, which names the part that is refused and never quotes a text.
    """
    try:
        tokens = tuple(_tokens(text, _LEXES[dialect]))
        calls = tuple(_calls(tokens))
        _check_words(tokens, dialect)
        _check_calls(calls, dialect)
        _check_shape(tokens)
        moments = any(token.kind == "text" and _MOMENT.fullmatch(token.text) for token in tokens)
        if moments and dialect == "sqlite" and any(call.name.lower() in _SQLITE_TIMES for call in calls):
            raise _Refused(_changing("'now'", _CLOCK))
    except _Refused as error:
        raise errors.SpecError(f"{error}; {EXPECTED}", path=path) from None
    return Expression(text.strip(" \t\r\n"), dialect, path, calls, moments)


def judge_type(text: str, dialect: str, path: str) -> None:
    """Raise `SpecError` unless the text can only be a type of the dialect: `numeric(12,2)`, `enum('a','b')`.

    It stands in a CREATE TABLE, where a constraint or a default could follow it.
    """
    try:
        tokens = tuple(_tokens(text, _LEXES[dialect]))
        _check_shape(tokens)
        for number, token in enumerate(tokens):
            outside = token.kind == "text" and not any(_is_mark(tokens, number - 1, mark) for mark in "(,")
            if outside or (token.kind == "mark" and token.text not in "(),[]."):
                raise _Refused(f"has a {token.text if token.kind == 'mark' else 'text'} (character {token.at + 1})")
            if token.kind == "word" and token.text.lower() in _CLAUSES:
                raise _Refused(f"has {token.text} (character {token.at + 1})")
    except _Refused as error:
        raise errors.SpecError(f"{error}; expected a type and nothing else", path=path) from None


def judge_statement(text: str, dialect: str, path: str) -> None:
    """Raise `SpecError` unless the text can only be one statement that changes or reads rows; `:column` is a parameter.

    It runs in the transaction that moves the checkpoint, which it must neither end nor, by DDL, commit.
    """
    lexis = _LEXES[dialect]
    try:
        tokens = tuple(_tokens(text, replace(lexis, refused=lexis.refused.replace(":", "").replace("@", ""))))
        first = tokens[0]
        if first.kind != "word" or first.text.lower() not in _OF_ROWS:
            begins = first.text.lower() if first.kind == "word" else "something else"
            raise _Refused(f"begins with {begins}")
        _check_shape(tokens, several=True)
    except _Refused as error:
        raise errors.SpecError(
            f"{error}; expected one statement without ';' or comments that begins with {', '.join(sorted(_OF_ROWS))}",
            path=path,
        ) from None


class _Refused(Exception):
    """What is wrong with the text; never leaves this module."""


# -- telling words apart -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lexis:
    """How an engine tells texts and names apart. texts and names: the characters that open them.

    refused: what must not stand outside of quotes. joined: words that may touch a text, as in x'41'. backslashes:
    whether one may escape what follows it, inside every text or, for "e", in those that E is joined to.
    """

    texts: str
    names: str
    refused: str
    joined: tuple[str, ...] = ("x",)
    backslashes: bool | str = False


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: word, name (in quotes), text, number or mark. text: without its quotes. at: characters before it."""

    kind: str
    text: str
    at: int


# What PostgreSQL and MariaDB are told at every connect (standard_conforming_strings, sql_mode) is what this rests on.
_LEXES = {
    "postgresql": _Lexis("'", '"', ";$\\`", ("x", "b", "e", "n"), backslashes="e"),
    "mysql": _Lexis("'\"", "`", ";#@\\$?[]", ("x", "b", "n"), backslashes=True),
    "mariadb": _Lexis("'\"", "`", ";#@\\$?[]", ("x", "b", "n"), backslashes=True),
    "sqlite": _Lexis("'", '"`[', ";#@$?:\\"),
    "mssql": _Lexis("'", '"[', ";#@$?:\\`", ("n",)),
    "firebird": _Lexis("'", '"', ";#@$?:\\`[]"),
}
_WORD = re.compile(r"[^\W\d][\w$]*")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_MOMENT = re.compile(r"\s*(now|today|tomorrow|yesterday)\b.*", re.IGNORECASE | re.DOTALL)
_OPENING = {"(": ")", "[": "]", "{": "}"}


def _tokens(text: str, lexis: _Lexis) -> Iterator[_Token]:
    at = 0
    if len(text.strip()) == 0:
        raise _Refused("is empty")
    if half := re.search("[\ud800-\udfff]", text):
        raise _Refused(f"has half of a character (U+{ord(half[0]):04X}, character {half.start() + 1})")
    while at < len(text):
        letter = text[at]
        if letter in " \t\r\n":
            at += 1
            continue
        if letter in lexis.texts or letter in lexis.names:
            end = _closing(text, at, lexis)
            inside = text[at + 1 : end - 1] if letter == "[" else text[at + 1 : end - 1].replace(letter * 2, letter)
            yield _Token("text" if letter in lexis.texts else "name", inside, at)
            at = end
            continue
        if not letter.isprintable() or letter.isspace():
            raise _Refused(f"has a character that nobody sees (U+{ord(letter):04X}, character {at + 1})")
        if letter in lexis.refused or text.startswith(("--", "/*", "*/"), at):
            raise _Refused(_out_of_place(text, at))
        if found := _WORD.match(text, at):
            yield from _word(text, at, found[0], lexis)
        elif found := _NUMBER.match(text, at):
            if text[found.end() : found.end() + 1].isidentifier() or text.startswith(".", found.end()):
                raise _Refused(f"has a number that runs into a word (character {at + 1})")
            yield _Token("number", found[0], at)
        elif letter.isascii():
            yield _Token("mark", letter, at)
            at += 1
            continue
        else:
            raise _Refused(f"has a character outside of quotes that means nothing there (U+{ord(letter):04X})")
        at = found.end()


def _word(text: str, at: int, word: str, lexis: _Lexis) -> Iterator[_Token]:
    # _latin1'…' and Q'{…}' change what is between the quotes, U&"…" spells a name otherwise.
    follows = text[at + len(word) :][:2]
    if word.lower() == "u" and follows[:1] == "&" and follows[1:] and follows[1:] in lexis.texts + lexis.names:
        raise _Refused(f"has U& joined to a quote (character {at + 1}); write the letters themselves")
    if follows and follows[0] in lexis.texts and word.lower() not in lexis.joined:
        raise _Refused(f"has {word} joined to a text (character {at + 1}); put a blank between, or leave it out")
    yield _Token("word", word, at)


def _closing(text: str, at: int, lexis: _Lexis) -> int:
    """Where what is quoted from `at` on has ended."""
    quote = "]" if text[at] == "[" else text[at]
    after_e = lexis.backslashes == "e" and at > 0 and text[at - 1] in "eE"
    escaping = text[at] in lexis.texts and (lexis.backslashes is True or after_e)
    here = at + 1
    while here < len(text):
        if text[here] == "\0":
            raise _Refused(f"has a zero byte (character {here + 1})")
        if escaping and text[here] == "\\":
            if text[here + 1 : here + 2] == quote:
                # Whether it escapes is a setting of the session: said the other way it means the same in any.
                raise _Refused(f"has a quote after a backslash (character {here + 1}); write the quote twice instead")
            here += 2
            continue
        if text[here] == quote:
            if quote == "]" or text[here + 1 : here + 2] != quote:
                return here + 1
            here += 1
        here += 1
    raise _Refused(f"leaves a quote open (character {at + 1})")


def _out_of_place(text: str, at: int) -> str:
    two, where = text[at : at + 2], f"(character {at + 1})"
    if two in ("--", "/*", "*/") or text[at] == "#":
        return f"has a comment {where}" + (" (minus minus needs a blank between)" if two == "--" else "")
    why = {
        ";": "that ends a statement",
        "@": "that names a variable of the session",
        "?": "that names a parameter",
        ":": "that names a parameter",
        "$": "that opens a text or names a parameter",
    }.get(text[at], "outside of quotes")
    return f"has {text[at]} {where}, {why}"


# -- its shape ---------------------------------------------------------------------------------------------------------


def _check_shape(tokens: Sequence[_Token], *, several: bool = False) -> None:
    """Brackets close what they opened, and there is one expression and not a list (unless `several`)."""
    open_: list[_Token] = []
    for number, token in enumerate(tokens):
        if token.kind == "word" and token.text.lower() == "as" and not open_ and not several:
            raise _Refused(f"has an as outside of brackets (character {token.at + 1}), which names what it yields")
        if token.kind != "mark":
            continue
        if token.text in _OPENING:
            open_.append(token)
            if len(open_) > DEEPEST:
                raise _Refused(f"has more than {DEEPEST} brackets in one another")
        elif token.text in _OPENING.values():
            if not open_ or _OPENING[open_.pop().text] != token.text:
                raise _Refused(f"has a {token.text} that closes nothing (character {token.at + 1})")
        elif several:
            continue
        elif token.text == "," and not open_:
            raise _Refused(f"has a comma outside of brackets (character {token.at + 1})")
        elif token.text == "*" and (number == 0 or any(_is_mark(tokens, number - 1, mark) for mark in "(,.")):
            raise _Refused(f"has a * in place of a column (character {token.at + 1})")
    if open_:
        raise _Refused(f"leaves a {open_[-1].text} open (character {open_[-1].at + 1})")


def _calls(tokens: Sequence[_Token]) -> Iterator[Call]:
    """Every name before a bracket. Some are no functions (`in (…)`, `numeric(12,2)`); the engine knows which."""
    for number, token in enumerate(tokens[:-1]):
        if token.kind in ("word", "name") and _is_mark(tokens, number + 1, "("):
            dotted = _is_mark(tokens, number - 1, ".")
            schema = tokens[number - 2].text if dotted and number >= 2 else ""
            yield Call(token.text, _arguments(tokens, number + 1), schema, token.kind == "name")


def _arguments(tokens: Sequence[_Token], opening: int) -> int:
    depth, count, empty = 0, 1, True
    for token in tokens[opening:]:
        if token.kind == "mark" and token.text in _OPENING:
            empty = empty and depth == 0
            depth += 1
            continue
        if token.kind == "mark" and token.text in _OPENING.values():
            depth -= 1
            if depth == 0:
                break
        elif token.kind == "mark" and token.text == "," and depth == 1:
            count += 1
        empty = False
    return 0 if empty else count


def _is_mark(tokens: Sequence[_Token], number: int, mark: str) -> bool:
    return 0 <= number < len(tokens) and tokens[number].kind == "mark" and tokens[number].text == mark


# -- what changes without an event -------------------------------------------------------------------------------------

_CLOCK = "the clock"
_CHANCE = "chance"
_SESSION = "the session"
_SERVER = "the server"


def _named(why: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), why)


def listed(names: str) -> frozenset[str]:
    """The names of a text, which reads better than a list of many."""
    return frozenset(names.split())


# Words that call a function without brackets.
_WORDS = {
    "postgresql": _named(_CLOCK, "current_date current_time current_timestamp localtime localtimestamp")
    | _named(_SESSION, "current_user current_role current_catalog current_schema session_user system_user user"),
    "mariadb": _named(
        _CLOCK, "current_date current_time current_timestamp localtime localtimestamp utc_date utc_time utc_timestamp"
    )
    | _named(_SESSION, "current_user current_role"),
    "sqlite": _named(_CLOCK, "current_date current_time current_timestamp"),
    "mssql": _named(_CLOCK, "current_timestamp current_date")
    | _named(_SESSION, "current_user session_user system_user user"),
    "firebird": _named(_CLOCK, "current_date current_time current_timestamp localtime localtimestamp")
    | _named(_SESSION, "current_user current_role current_connection current_transaction user"),
}
# Functions that are known to change; which others a server has, it says itself.
_FUNCTIONS = {
    "postgresql": _named(_CLOCK, "now clock_timestamp statement_timestamp transaction_timestamp timeofday")
    | _named(_CHANCE, "random random_normal gen_random_uuid uuid_generate_v1 uuid_generate_v4 uuidv4 uuidv7 setseed")
    | _named(_SESSION, "current_setting set_config pg_backend_pid nextval currval lastval setval")
    | _named(_SERVER, "pg_sleep pg_sleep_for pg_sleep_until pg_read_file pg_read_binary_file pg_ls_dir lo_import "
             "lo_export lo_get dblink query_to_xml table_to_xml cursor_to_xml schema_to_xml database_to_xml"),
    "mariadb": _named(_CLOCK, "now sysdate curdate curtime current_date current_time current_timestamp localtime "
                      "localtimestamp utc_date utc_time utc_timestamp")
    | _named(_CHANCE, "rand uuid uuid_short uuid_v4 uuid_v7 sys_guid random_bytes")
    | _named(_SESSION, "user current_user session_user system_user current_role connection_id database schema "
             "last_insert_id row_count found_rows nextval lastval setval last_value decode_oracle rownum "
             "ps_current_thread_id ps_thread_id statement_digest")
    | _named(_SERVER, "version sleep benchmark get_lock release_lock release_all_locks is_free_lock is_used_lock "
             "load_file master_pos_wait master_gtid_wait binlog_gtid_pos source_pos_wait wait_for_executed_gtid_set "
             "wait_until_sql_thread_after_gtids sys_exec sys_eval"),
    "sqlite": _named(_CHANCE, "random randomblob")
    | _named(_SESSION, "changes total_changes last_insert_rowid")
    | _named(_SERVER, "load_extension readfile writefile edit fts3_tokenizer sqlite_version sqlite_source_id"),
    "mssql": _named(_CLOCK, "getdate getutcdate sysdatetime sysutcdatetime sysdatetimeoffset")
    | _named(_CHANCE, "rand newid newsequentialid crypt_gen_random")
    | _named(_SESSION, "user_name suser_name suser_sname host_name app_name session_context context_info"),
    "firebird": _named(_CHANCE, "rand gen_uuid") | _named(_SESSION, "gen_id rdb$get_context rdb$set_context"),
}  # fmt: skip
# Functions that take the clock where they are given too few arguments.
_CLOCK_BELOW = {
    "mariadb": {"unix_timestamp": 1},
    "sqlite": {"date": 1, "time": 1, "datetime": 1, "julianday": 1, "unixepoch": 1, "strftime": 2},
    "postgresql": {"age": 2},
}
_SQLITE_TIMES = frozenset((*_CLOCK_BELOW["sqlite"], "timediff"))
_AGGREGATES = listed(
    "count sum avg total group_concat string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg "
    "json_arrayagg json_objectagg json_group_array json_group_object jsonb_group_array jsonb_group_object bool_and "
    "bool_or every std stddev stddev_pop stddev_samp variance var_pop var_samp bit_and bit_or bit_xor corr covar_pop "
    "covar_samp median percentile_cont percentile_disc xmlagg any_value range_agg"
)
_WINDOWS = listed("row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value")
_STATEMENTS = listed(
    "alter analyze attach begin call commit copy create delete detach do drop execute explain flush grant handler "
    "insert kill listen load lock merge notify pragma prepare reindex rename reset revoke rollback savepoint set "
    "show shutdown truncate update use vacuum"
)
_OF_ROWS = listed("call delete insert merge replace select update with")
_CLAUSES = listed(
    "as auto_increment autoincrement check comment constraint default foreign generated identity invisible key not "
    "null on primary references select unique using virtual stored persistent"
)
_CATALOG_TYPES = listed(
    "regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole "
    "regtype"
)
_WORDS["mysql"], _FUNCTIONS["mysql"] = _WORDS["mariadb"], _FUNCTIONS["mariadb"]
_CLOCK_BELOW["mysql"] = _CLOCK_BELOW["mariadb"]


def _changing(what: str, why: str) -> str:
    return f"{what} depends on {why}, so it would change with no change of the row"


def _check_words(tokens: Sequence[_Token], dialect: str) -> None:
    for number, token in enumerate(tokens):
        if token.kind == "word" and not _is_mark(tokens, number - 1, "."):
            _check_word(tokens, number, dialect)


def _check_calls(calls: Sequence[Call], dialect: str) -> None:
    functions, below = _FUNCTIONS[dialect], _CLOCK_BELOW.get(dialect, {})
    for call in calls:
        name = call.name.lower()
        if name in functions:
            raise _Refused(_changing(f"{name}()", functions[name]))
        if call.arguments < below.get(name, 0):
            raise _Refused(_changing(f"{name}() with {_few(call.arguments)}", _CLOCK))
        scalar = dialect == "sqlite" and call.arguments > 1
        if name in _AGGREGATES or (name in ("min", "max") and not scalar):
            raise _Refused(f"{name}() is an aggregate, which reads other rows")
        if name in _WINDOWS:
            raise _Refused(f"{name}() is a window function, which reads other rows")


def _few(count: int) -> str:
    return {0: "no argument", 1: "one argument"}.get(count, f"{count} arguments")


def _check_word(tokens: Sequence[_Token], number: int, dialect: str) -> None:
    word = tokens[number].text.lower()
    following = tokens[number + 1] if number + 1 < len(tokens) else None
    if word in ("select", "table", "values"):
        raise _Refused(f"{word} makes a subquery, which reads other tables")
    if word == "over" and _is_mark(tokens, number - 1, ")"):
        raise _Refused("over makes a window function, which reads other rows")
    if word in ("next", "previous") and following and following.text.lower() == "value":
        raise _Refused(_changing(f"{word} value", _SESSION))
    if number == 0 and word in _STATEMENTS and following and following.kind in ("word", "name"):
        raise _Refused(f"{word} begins a statement")
    if dialect == "postgresql" and word in _CATALOG_TYPES:
        raise _Refused(f"{word} reads the catalog, which can change with no change of the row")
    if word in _WORDS[dialect] and not _is_mark(tokens, number + 1, "."):
        raise _Refused(_changing(word, _WORDS[dialect][word]))


# -- its columns -------------------------------------------------------------------------------------------------------

_PARSERS = {
    "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite", "mssql": "tsql", "firebird": "",
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _columns(text: str, dialect: str) -> tuple[str, ...]:
    import sqlglot  # takes a while, which only those pay who ask for the columns of an expression
    from sqlglot import exp

    try:
        statement = sqlglot.parse_one(f"select ({text})", read=_PARSERS[dialect])
    except (sqlglot.errors.SqlglotError, RecursionError):
        return ()
    if statement.find(exp.Alias):
        # What stands beside a value without an operator is taken for another name of it: the parser has not understood.
        return ()
    names: dict[str, None] = {}
    for column in statement.find_all(exp.Column, bfs=False):
        folded = dialect == "postgresql" and not (isinstance(column.this, exp.Identifier) and column.this.quoted)
        names[column.name.lower() if folded else column.name] = None
    return tuple(names)
