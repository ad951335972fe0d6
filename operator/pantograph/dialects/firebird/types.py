"""Column types: to logical types and back.

`native` of a text column carries character set and collation (`varchar(20) character set UTF8 collate UNICODE_CI`).
Where SQL takes no collation beside a type (CAST, parameters), `plain` leaves it out.
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

from pantograph import errors
from pantograph.model.converters import Columnwise, Whole, holds, passing
from pantograph.model.tables import Column
from pantograph.model.types import Kind, LogicalType

ARRAY = "array of "
"""What the type of an array begins with."""
FRACTION = 4
"""Digits of a second that a timestamp keeps."""

_MOST_DIGITS = 38
"""Of a decimal, in Firebird 4 and later."""
_INTEGERS = {"smallint": 16, "integer": 32, "bigint": 64}
_CODES = {
    7: "smallint", 8: "integer", 16: "bigint", 10: "float", 27: "double precision", 12: "date", 13: "time",
    35: "timestamp", 23: "boolean",
    # Of Firebird 4 and later.
    24: "decfloat(16)", 25: "decfloat(34)", 26: "int128", 28: "time with time zone", 29: "timestamp with time zone",
}  # fmt: skip
BINDINGS = (
    "set time zone 'UTC'",
    "set bind of time zone to legacy",
    # Without its zone it would be another value.
    "set bind of time with time zone to varchar",
    "set bind of int128 to varchar",
    "set bind of decfloat to varchar",
)
"""How a session of Firebird 4 and later has the server hand over and take what the client library does not know."""
_NATIVE = re.compile(
    r"(?P<base>[a-z_ ]+?)\s*(?:\((?P<modifiers>[\d, ]*)\))?(?P<rest> (?:character|sub_type|collate).*)?$", re.I
)
_CHARSET = re.compile(r"character set (\w+)", re.I)
_COLLATE = re.compile(r" collate (\S+)$", re.I)


def from_catalog(
    code: int, subtype: int, length: int, precision: int, scale: int, characters: int, charset: str, collation: str
) -> str:
    """The native type of a row of RDB$FIELDS."""
    if (code in (7, 8, 16, 26, 27) and scale < 0) or (code in (7, 8, 16, 26) and subtype in (1, 2)):
        digits = precision or (_MOST_DIGITS if code == 26 else 18)
        return f"{'decimal' if subtype == 2 else 'numeric'}({digits},{-scale})"
    suffix = f" character set {charset}" if charset else ""
    suffix += f" collate {collation}" if collation and collation != charset else ""
    if code in (14, 37):
        return f"{'char' if code == 14 else 'varchar'}({characters or length}){suffix}"
    if code == 261:
        return f"blob sub_type text{suffix}" if subtype == 1 else f"blob sub_type {subtype or 'binary'}"
    return _CODES.get(code, f"type {code}")


def base_name(native: str) -> str:
    """`varchar` of `varchar(20) character set UTF8`."""
    found = _NATIVE.match(native.strip())
    name = found["base"].strip().lower() if found else native.lower()
    return {"int": "integer", "double": "double precision"}.get(name, name)


def modifiers(native: str) -> tuple[int, ...]:
    """`(12, 2)` of `numeric(12,2)`."""
    found = _NATIVE.match(native.strip())
    return tuple(int(n) for n in (found["modifiers"] or "").split(",") if n.strip()) if found else ()


def charset(native: str) -> str:
    """The character set of a text type, in capitals; "" where none is said."""
    found = _CHARSET.search(native)
    return found[1].upper() if found else ""


def plain(native: str) -> str:
    """The type without its collation."""
    return _COLLATE.sub("", native)


def collation(native: str) -> str:
    """` collate x`, or ""."""
    found = _COLLATE.search(native)
    return found[0] if found else ""


def is_text(native: str) -> bool:
    """A CHAR or VARCHAR of characters."""
    return base_name(native) in ("char", "varchar") and charset(native) != "OCTETS"


def is_blob(native: str) -> bool:
    """A BLOB of either kind."""
    return base_name(native) == "blob"


def is_spelled(native: str) -> bool:
    """One whose values the server hands over and takes as text (`BINDINGS`)."""
    name = base_name(native)
    digits = (modifiers(native) or (0,))[0] if name in ("numeric", "decimal") else 0
    return digits > 18 or name in ("int128", "decfloat", "time with time zone")


def is_array(native: str) -> bool:
    """One of Firebird's arrays, which only its own calls read and write."""
    return native.startswith(ARRAY)


def logical(native: str) -> LogicalType:
    """A native type as a logical one."""
    name, numbers = base_name(native), modifiers(native)
    first = numbers[0] if numbers else 0
    if name in _INTEGERS:
        return LogicalType(Kind.INTEGER, bits=_INTEGERS[name], native=native)
    if name in ("numeric", "decimal"):
        return LogicalType(
            Kind.DECIMAL, precision=first or 9, scale=numbers[1] if len(numbers) > 1 else 0, native=native
        )
    if name == "int128":
        return LogicalType(Kind.DECIMAL, precision=_MOST_DIGITS + 1, native=native)
    if name in ("float", "double precision"):
        return LogicalType(Kind.FLOAT, bits=32 if name == "float" else 64, native=native)
    if name in ("char", "varchar"):
        if charset(native) == "OCTETS":
            return LogicalType(Kind.BYTES, length=first or 1, native=native)
        # Trailing blanks count in no collation that compares bytes here. Two keys that differ in nothing else are
        # refused by the destination's unique key and never merged (`bulk.Target.same`), so they are not held back.
        folding = collation(native)[9:].upper() not in ("", "UCS_BASIC", charset(native))
        weights = collation(native)[9:].upper() if folding else ""
        return LogicalType(Kind.TEXT, length=first or 1, folding=folding, weights=weights, native=native)
    if name == "blob":
        if "sub_type text" in native.lower() or "sub_type 1" in native.lower():
            return LogicalType(Kind.TEXT, native=native)
        return LogicalType(Kind.BYTES, native=native)
    simple = {"boolean": Kind.BOOLEAN, "date": Kind.DATE}
    if name in simple:
        return LogicalType(simple[name], native=native)
    if name in ("time", "timestamp"):
        return LogicalType(Kind.TIME if name == "time" else Kind.TIMESTAMP, fraction=FRACTION, native=native)
    if name == "timestamp with time zone":
        return LogicalType(Kind.TIMESTAMP, fraction=FRACTION, zoned=True, native=native)
    return LogicalType(Kind.OTHER, native=native)


def native(type_: LogicalType, *, key: bool = False) -> str:
    """The narrowest native type that holds every value of `type_`; `SpecError` when there is none."""
    match type_.kind:
        case Kind.BOOLEAN:
            return "boolean"
        case Kind.INTEGER:
            bits = (type_.bits or 64) + (1 if type_.unsigned else 0)
            fitting = [name for name, room in _INTEGERS.items() if room >= bits]
            if fitting:
                return fitting[0]
        case Kind.FLOAT:
            return "float" if type_.bits == 32 else "double precision"
        case Kind.DECIMAL if 0 < type_.precision <= 18 and type_.scale <= 18:
            return f"numeric({type_.precision},{type_.scale})"
        case Kind.DECIMAL:
            raise errors.SpecError(
                f"{type_} has no type here that holds every value: Firebird 3 keeps 18 digits at most, and 4 keeps 38; "
                "give the column a type, such as `type: numeric(18,4)`"
            )
        case Kind.TEXT:
            return _text(type_.length, key)
        case Kind.BYTES:
            return _bytes(type_.length, key)
        case Kind.DATE:
            return "date"
        case Kind.TIME:
            return "time"
        case Kind.TIMESTAMP:
            return "timestamp"
        case Kind.UUID:
            return "char(36) character set ASCII"
        case Kind.JSON:
            return "blob sub_type text character set UTF8"
        case _:
            pass
    raise errors.SpecError(f"{type_} has no type here that holds every value")


def _text(length: int, key: bool) -> str:
    # An index takes a quarter of a page: 2,048 bytes of a page of 8 KiB, and a character up to four of them.
    if key:
        if length > 400:
            raise errors.SpecError(f"a key of text({length}) cannot be indexed here: 400 characters at most")
        return f"varchar({length or 191}) character set UTF8"
    if 0 < length <= 255:
        return f"varchar({length}) character set UTF8"
    return "blob sub_type text character set UTF8"


def _bytes(length: int, key: bool) -> str:
    if key and length > 1600:
        raise errors.SpecError(f"a key of bytes({length}) cannot be indexed here: 1,600 bytes at most")
    if key or 0 < length <= 255:
        return f"varchar({length or 255}) character set OCTETS"
    return "blob sub_type binary"


def event_type(column: Column) -> str:
    """An event table's column: the widest of its family, so that a wider source column cannot make a write fail."""
    type_ = column.type
    match type_.kind:
        case Kind.INTEGER:
            return "bigint"
        case Kind.FLOAT:
            return "double precision"
        case Kind.DECIMAL:
            return f"numeric(18,{type_.scale})" if type_.precision <= 18 else plain(column.native)
        case Kind.TEXT if is_text(column.native):
            return f"varchar({max(type_.length, 255)}) character set {charset(column.native) or 'UTF8'}"
        case Kind.BYTES if not is_blob(column.native):
            return f"varchar({max(type_.length, 1020)}) character set OCTETS"
        case Kind.BOOLEAN | Kind.DATE | Kind.TIME | Kind.TIMESTAMP:
            return plain(column.native)
        case _:
            pass
    raise errors.SpecError(f"a column of type {column.native} cannot be part of a key: it cannot be indexed here")


def compares_short(native: str) -> bool:
    """A type whose `=` fills the shorter value up: a text with blanks, bytes with zeros."""
    return base_name(native) in ("char", "varchar")


def exactly(left: str, right: str, native_: str) -> str:
    """A condition beside `left = right`: they are the same to the byte. Bytes, too, are filled up when compared."""
    length = f"octet_length({left}) = octet_length({right})"
    if not is_text(native_):
        return length
    return f"{_octets(left, native_)} = {_octets(right, native_)} and {length}"


def differs(left: str, right: str, native_: str) -> str:
    """A condition that is never NULL: two values of a column are not the same, to the byte for text and for bytes."""
    if not (compares_short(native_) or is_blob(native_)):
        return f"{left} is distinct from {right}"
    longer = f"octet_length({left}) is distinct from octet_length({right})"
    if not is_text(native_):
        return f"({left} is distinct from {right} or {longer})"
    return f"({_octets(left, native_)} is distinct from {_octets(right, native_)} or {longer})"


def _octets(expression: str, native_: str) -> str:
    """A text as its bytes, whatever its collation."""
    width = 4 * (modifiers(native_) or (1,))[0]
    return f"cast({expression} as varchar({min(width, 32765)}) character set OCTETS)"


# -- values ------------------------------------------------------------------------------------------------------------


def decode(type_: LogicalType) -> Callable[[Any], Any] | None:
    """From what fdb yields, or what has come packed as text, to the canonical value; None where they are the same."""
    if type_.kind is Kind.DECIMAL and not is_spelled(type_.native):
        # All digits of its scale, which fdb leaves out at the end and the server's own texts have.
        return Columnwise(_decimal(type_.scale), passing(str))
    return _DECODERS.get(type_.kind)


def _decimal(scale: int) -> Callable[[Any], str]:
    def decoded(value: Any) -> str:
        whole, _, digits = _plain_decimal(value).partition(".")
        return f"{whole}.{digits:0<{scale}}" if scale else whole + ("." + digits if digits else "")

    return decoded


def _plain_decimal(value: Any) -> str:
    return format(value if isinstance(value, decimal.Decimal) else decimal.Decimal(str(value)), "f")


def _moment(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _as_bytes(value: Any) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


def _stripped(value: Any) -> str:
    return str(value).rstrip()


_DECODERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.DECIMAL: _plain_decimal,
    Kind.DATE: Columnwise(_moment, passing(str)),
    Kind.TIME: Columnwise(_moment, passing(str)),
    Kind.TIMESTAMP: Columnwise(_moment, passing(str)),
    Kind.BYTES: _as_bytes,
    Kind.UUID: _stripped,
}


def encode(type_: LogicalType) -> Callable[[Any], Any] | None:
    """From the canonical value to what fdb takes, or None where they are the same."""
    return _ENCODERS.get(type_.kind)


_TOO_FINE = re.compile(rf"(\.\d{{{FRACTION}}})\d+$")


def _cut(value: Any) -> str:
    return _TOO_FINE.sub(r"\1", str(value))


def _no_longer(than: int) -> Whole:
    """Texts that cannot have more digits of a second than are kept."""
    return lambda column: (
        column if holds(column, str) and max((len(v) for v in column if v is not None), default=0) <= than else None
    )


_ENCODERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TIME: Columnwise(_cut, _no_longer(13)),
    Kind.TIMESTAMP: Columnwise(_cut, _no_longer(24)),
    Kind.DECIMAL: Columnwise(str, passing(str)),
    Kind.BOOLEAN: bool,
}
