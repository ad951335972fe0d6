"""PostgreSQL's types as logical ones and back, and text that every engine renders alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pantograph import errors
from pantograph.model.types import ACCENTS, BLANKS, CASE, Kind, LogicalType

_MODIFIERS = re.compile(r"\s*\(([-\d,\s]*)\)")


def base_name(native: str) -> str:
    """A type's name without its modifiers: `timestamp(3) with time zone` is `timestamp with time zone`."""
    return _MODIFIERS.sub("", native)


def modifiers(native: str) -> tuple[int, ...]:
    """The numbers in a type's parentheses."""
    found = _MODIFIERS.search(native)
    return tuple(int(part) for part in found[1].split(",")) if found else ()


_INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
_SIMPLE = {
    "boolean": LogicalType(Kind.BOOLEAN),
    "real": LogicalType(Kind.FLOAT, bits=32),
    "double precision": LogicalType(Kind.FLOAT, bits=64),
    "bytea": LogicalType(Kind.BYTES),
    "date": LogicalType(Kind.DATE),
    "uuid": LogicalType(Kind.UUID),
    "json": LogicalType(Kind.JSON, native="json"),
    "jsonb": LogicalType(Kind.JSON, native="jsonb"),
    "name": LogicalType(Kind.TEXT, length=63),
}


def logical(native: str, *, folding: bool = False) -> LogicalType:
    """What a column of a native type (as `format_type` prints it, domains resolved) can hold."""
    name, numbers = base_name(native), modifiers(native)
    first = numbers[0] if numbers else 0
    if native.endswith("]"):
        return LogicalType(Kind.OTHER, native=native)
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name in _INTEGERS:
        return LogicalType(Kind.INTEGER, bits=_INTEGERS[name])
    if name == "numeric":
        scale = numbers[1] if len(numbers) > 1 else 0
        if scale < 0:
            # numeric(2,-3) holds 99000: five digits, none of them after the point.
            return LogicalType(Kind.DECIMAL, precision=first - scale, scale=0)
        return LogicalType(Kind.DECIMAL, precision=max(first, scale), scale=scale)
    if name in ("text", "character varying"):
        return LogicalType(Kind.TEXT, length=first, folding=folding)
    if name in ("character", "bpchar"):
        apart = None if folding else frozenset({CASE, ACCENTS})
        return LogicalType(Kind.TEXT, length=first, folding=True, apart=apart)
    if name.split(".")[-1].strip('"') == "citext":
        return LogicalType(Kind.TEXT, folding=True, apart=frozenset({ACCENTS, BLANKS}))
    fraction = first if numbers else 6
    if name == "time without time zone":
        return LogicalType(Kind.TIME, fraction=fraction)
    if name == "timestamp without time zone":
        return LogicalType(Kind.TIMESTAMP, fraction=fraction)
    if name == "timestamp with time zone":
        return LogicalType(Kind.TIMESTAMP, fraction=fraction, zoned=True)
    if name.startswith("interval"):
        return LogicalType(Kind.INTERVAL, native=native)
    return LogicalType(Kind.OTHER, native=native)


def native(type_: LogicalType) -> str:
    """The narrowest native type that holds every value of a logical one."""
    match type_.kind:
        case Kind.BOOLEAN:
            return "boolean"
        case Kind.INTEGER:
            needed = type_.bits + (1 if type_.unsigned else 0)
            return next((name for name, bits in _INTEGERS.items() if bits >= needed), "numeric(20)")
        case Kind.FLOAT:
            return "real" if type_.bits == 32 else "double precision"
        case Kind.DECIMAL:
            if not type_.precision:
                return "numeric"
            return f"numeric({type_.precision},{type_.scale})"
        case Kind.TEXT:
            return f"character varying({type_.length})" if 0 < type_.length <= 10485760 else "text"
        case Kind.BYTES:
            return "bytea"
        case Kind.DATE:
            return "date"
        case Kind.TIME:
            return "time without time zone" if type_.fraction >= 6 else f"time({type_.fraction}) without time zone"
        case Kind.TIMESTAMP:
            zone = "with" if type_.zoned else "without"
            precision = "" if type_.fraction >= 6 else f"({type_.fraction})"
            return f"timestamp{precision} {zone} time zone"
        case Kind.INTERVAL:
            return type_.native if type_.native.startswith("interval") else "interval"
        case Kind.UUID:
            return "uuid"
        case Kind.JSON:
            return type_.native if type_.native in ("json", "jsonb") else "json"
        case Kind.OTHER:
            return type_.native
    raise errors.SpecError(f"PostgreSQL has no type that holds every {type_}")


def event_type(native: str) -> str:
    """The widest type of a captured column's family, so that widening the column cannot make a write fail."""
    name = base_name(native)
    if native.endswith("]"):
        return re.sub(r"\([^()]*\)", "", native)
    if name in _INTEGERS:
        return "bigint"
    if name in ("character varying", "text"):
        return "text"
    if name in ("character", "bpchar"):
        # Blank-padded text compares as itself only: as `text` the table's index would not be used.
        return "bpchar"
    if name == "real":
        return "double precision"
    if name.startswith("interval"):
        return "interval"
    return name


def event_family(native: str) -> tuple[str, ...]:
    """The types that a captured column may be changed to while its trigger goes on working, without any modifiers."""
    name = event_type(native)
    families = {
        "bigint": ("smallint", "integer", "bigint"),
        "text": ("text", "character varying"),
        "double precision": ("real", "double precision"),
    }
    return families.get(name, (name,))


def canonical(expression: str, type_: LogicalType, precision: LogicalType) -> str:
    """SQL for text that every engine renders alike, at the coarser of two precisions; NULL stays NULL."""
    text = f"cast({expression} as text)"
    if precision.kind is Kind.TEXT and type_.kind is not Kind.TEXT:
        # The other side holds the canonical text itself.
        if type_.kind is Kind.TIMESTAMP and type_.zoned:
            return f"cast(({expression}) at time zone 'UTC' as text)"
        return text
    match type_.kind:
        case Kind.BOOLEAN:
            return f"case when {expression} then '1' when not ({expression}) then '0' end"
        case Kind.DECIMAL:
            if precision.kind is Kind.DECIMAL and precision.precision and precision.scale < (type_.scale or 1 << 30):
                return f"cast(trim_scale(round({expression}, {precision.scale})) as text)"
            return f"cast(trim_scale({expression}) as text)"
        case Kind.FLOAT:
            # No two engines print a float alike, and none of the portable forms is exact.
            raise NotImplementedError("floats are not compared by checksum")
        case Kind.BYTES:
            return f"encode(sha256({expression}), 'hex')"
        case Kind.TIME:
            return _cut(f"to_char(cast({expression} as interval), 'HH24:MI:SS.US')", 9, type_, precision)
        case Kind.TIMESTAMP:
            moment = f"(({expression}) at time zone 'UTC')" if type_.zoned else f"({expression})"
            whole = _cut(f"to_char({moment}, 'YYYY-MM-DD HH24:MI:SS.US')", 20, type_, precision)
            # `to_char` knows neither the days without an end nor, by its years, which are before our era.
            plain = f"isfinite({expression}) and {moment} >= timestamp '0001-01-01'"
            return f"case when {plain} then {whole} else {text} end"
        case _:
            return text


def _cut(rendered: str, point: int, type_: LogicalType, precision: LogicalType) -> str:
    """`rendered` with only as many digits of a second as both keep, and zeros for the rest."""
    kept = min(type_.fraction, precision.fraction) if precision.kind is type_.kind else type_.fraction
    return rendered if kept >= 6 else f"rpad(left({rendered}, {point + kept}), {point + 6}, '0')"


def hashed(texts: Sequence[str]) -> str:
    """SQL for the 60-bit hash of texts, joined so that their borders count."""
    parts = " || ".join(f"coalesce(char_length({text}) || ':' || ({text}), '-')" for text in texts)
    return f"cast(cast('x' || left(encode(sha256(convert_to({parts}, 'UTF8')), 'hex'), 15) as bit(60)) as bigint)"
