"""Which functions of an expression can change their mind: pg_proc knows, also those of extensions and of the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Call, Expression, listed
from pantograph.dialects.base import Session
from pantograph.model.tables import TableShape
from pantograph.model.types import Kind

# Stable, for they depend on settings: on those that every session of ours sets, and so always in the same way.
_SETTLED = listed(
    "age array_to_json array_to_string array_to_tsvector concat concat_ws convert convert_from convert_to "
    "date date_add date_part date_subtract date_trunc extract format json_build_array json_build_object "
    "jsonb_build_array jsonb_build_object jsonb_path_exists_tz jsonb_path_match_tz make_timestamptz "
    "overlaps phraseto_tsquery plainto_tsquery quote_literal quote_nullable row_to_json time timestamp "
    "timestamptz timetz timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery "
    "to_tsvector websearch_to_tsquery"
)
_TEMPORAL = frozenset((Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.INTERVAL, Kind.OTHER))
_TEMPORAL_WORDS = re.compile(r"\b(date|time|timetz|timestamp|timestamptz|abstime)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Function:
    schema: str
    visible: bool
    volatility: str
    kind: str
    returns_set: bool
    least: int
    most: int
    declared: bool  # by a user, not by PostgreSQL

    def takes(self, call: Call) -> bool:
        return self.least <= call.arguments <= self.most


def judge(session: Session, expression: Expression, shape: TableShape) -> None:
    """Raise `SpecError` naming what can change with no change of the row."""
    if expression.moments and _reads_moments(expression, shape):
        raise _refused(expression, "'now', 'today' and the like are the time at which they are read")
    known = _functions(session, sorted({_name(call) for call in expression.calls}))
    for call in expression.calls:
        _judge_call(expression, call, known.get(_name(call), ()))


def _judge_call(expression: Expression, call: Call, functions: Sequence[_Function]) -> None:
    schema = call.schema if call.schema else None
    found = [one for one in functions if one.schema == schema or (schema is None and one.visible)]
    # Some are called with words between their arguments (`substring(a from 1 for 2)`): then whichever it may be.
    found = [one for one in found if one.takes(call)] or found
    if not found:
        return  # a type or a word of the grammar, or nothing at all: the server says when it parses
    name = f"{call.schema}.{_name(call)}()" if call.schema else f"{_name(call)}()"
    if all(one.kind in "aw" for one in found):
        raise _refused(expression, f"{name} is an aggregate or a window function, which reads other rows")
    if all(one.kind == "p" for one in found):
        raise _refused(expression, f"{name} is a procedure")
    if all(one.returns_set for one in found):
        raise _refused(expression, f"{name} yields several rows")
    if any(one.volatility == "v" for one in found):
        hint = "; declare it immutable if it is not" if any(one.declared for one in found) else ""
        raise _refused(expression, f"{name} is volatile, so it can change with no change of the row{hint}")
    if not any(one.volatility == "i" or (not one.declared and _name(call) in _SETTLED) for one in found):
        hint = "; declare it immutable if it does not" if any(one.declared for one in found) else ""
        raise _refused(expression, f"{name} is only stable: it depends on the time, the session or other tables{hint}")


def _refused(expression: Expression, why: str) -> errors.SpecError:
    return errors.SpecError(f"{why}; {EXPECTED}", path=expression.path)


def _name(call: Call) -> str:
    # PostgreSQL folds names without quotes and cuts them all.
    name = call.name if call.quoted else call.name.lower()
    return name.encode()[:63].decode(errors="ignore")


def _reads_moments(expression: Expression, shape: TableShape) -> bool:
    columns = [shape.column(name) for name in expression.columns]
    return bool(
        not columns
        or any(column is None or column.type.kind in _TEMPORAL for column in columns)
        or _TEMPORAL_WORDS.search(expression.sql)
    )


def _functions(session: Session, names: Sequence[str]) -> dict[str, list[_Function]]:
    found: dict[str, list[_Function]] = {}
    if not names:
        return found
    for name, *values in session.rows(
        "select p.proname, n.nspname, pg_function_is_visible(p.oid), p.provolatile, p.prokind, p.proretset, "
        "p.pronargs - p.pronargdefaults - (p.provariadic <> 0)::int, "
        "case when p.provariadic <> 0 then 1000 else p.pronargs end, p.oid >= 16384 "
        "from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.proname = any (cast(:names as name[]))",
        names=list(names),
    ):
        found.setdefault(name, []).append(_Function(*values))
    return found
