"""Column types: to logical types and back, values as pyodbc has them, and the texts that checksums are made of.

`native` of a text column carries its collation (`varchar(20) collate Latin1_General_CI_AS`): a stage is declared with
it, so that its join with the table meets one collation and an index. Every `=` here takes 'a' and 'a ' for one, under
any collation; so what must tell texts apart compares their bytes.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pantograph import errors
from pantograph.model.converters import Converter
from pantograph.model.tables import Column
from pantograph.model.types import Kind, LogicalType

EXACT = "Latin1_General_100_BIN2"
"""The collation of the keys of tables that we make: nothing is equal but by trailing blanks."""
_CHARACTERS = "Latin1_General_100_CI_AS_SC"
"""A collation under which a character beyond the basic plane counts as one."""
_UTF8 = "Latin1_General_100_CI_AS_SC_UTF8"
"""What encodes as UTF-8, since SQL Server 2019."""
CODE_PAGE = "select convert(int, collationproperty(:collation, 'CodePage'))"
ENCODES_UTF8 = f"select 1 where collationproperty(N'{_UTF8}', 'CodePage') is not null"
"""A row where the server has it; NULL is the property of a collation that it does not know."""

_INTEGERS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
_MONEY = {"money": (19, 4), "smallmoney": (10, 4)}
_TEXTS = {"char", "varchar", "nchar", "nvarchar", "text", "ntext"}
_BYTES = {"binary", "varbinary", "image"}
_OLD = {"text": "varchar(max)", "ntext": "nvarchar(max)", "image": "varbinary(max)"}
_OPAQUE = {"hierarchyid", "geometry", "geography"}
_UNITS = 4000
"""16-bit units of the longest text that is not `max`; bytes are twice as many."""
_KEY_BYTES = 900
"""Of a clustered index, which a primary key is."""

_NATIVE = re.compile(r"(?P<base>\w+)\s*(?:\((?P<modifiers>[^()]*)\))?")
_COLLATE = re.compile(r" collate (\w+)$")


def from_catalog(name: str, length: int, precision: int, scale: int, collation: str) -> str:
    """The native type of a row of sys.columns. length: in bytes, -1 for `max`."""
    suffix = f" collate {collation}" if collation else ""
    if name in ("char", "varchar", "binary", "varbinary"):
        return f"{name}({'max' if length < 0 else length}){suffix}"
    if name in ("nchar", "nvarchar"):
        return f"{name}({'max' if length < 0 else length // 2}){suffix}"
    if name in ("decimal", "numeric"):
        return f"decimal({precision},{scale})"
    if name in ("datetime2", "datetimeoffset", "time"):
        return f"{name}({scale})"
    if name == "timestamp":
        return "rowversion"
    return f"{name}{suffix}"


def base_name(native: str) -> str:
    """`varchar` of `varchar(20) collate Latin1_General_CI_AS`."""
    found = _NATIVE.match(native.strip())
    name = found["base"].lower() if found else native.lower()
    return {"numeric": "decimal", "integer": "int", "dec": "decimal", "timestamp": "rowversion"}.get(name, name)


def modifiers(native: str) -> tuple[int, ...]:
    """`(12, 2)` of `decimal(12,2)`; nothing of `max`."""
    found = _NATIVE.match(native.strip())
    return tuple(int(n) for n in (found["modifiers"] or "").split(",") if n.strip().isdigit()) if found else ()


def collation(native: str) -> str:
    """` collate x`, or ""."""
    found = _COLLATE.search(native)
    return found[0] if found else ""


def plain(native: str) -> str:
    """The type without its collation, as CAST takes it."""
    return _COLLATE.sub("", native)


def is_text(native: str) -> bool:
    """A type of characters, whose `=` is not exact."""
    return base_name(native) in _TEXTS


def has_code_page(native: str) -> bool:
    """A type of characters that holds those of its collation's code page alone."""
    return is_text(native) and not base_name(native).startswith("n") and collation(native) != ""


def logical(native: str) -> LogicalType:
    """A native type as a logical one."""
    name, numbers = base_name(native), modifiers(native)
    first = numbers[0] if numbers else 0
    if name in _INTEGERS:
        return LogicalType(Kind.INTEGER, bits=_INTEGERS[name], unsigned=name == "tinyint", native=native)
    if name == "bit":
        return LogicalType(Kind.BOOLEAN, native=native)
    if name in _MONEY:
        return LogicalType(Kind.DECIMAL, precision=_MONEY[name][0], scale=_MONEY[name][1], native=native)
    if name == "decimal":
        return LogicalType(
            Kind.DECIMAL, precision=first or 18, scale=numbers[1] if len(numbers) > 1 else 0, native=native
        )
    if name in ("float", "real"):
        short = name == "real" or 0 < first <= 24
        return LogicalType(Kind.FLOAT, bits=32 if short else 64, native=native)
    if name in _TEXTS:
        # Trailing blanks count under no collation. Keys that differ in nothing else are refused by the destination's
        # unique key and never merged (`bulk.Target.same`), so they are not held back.
        exact = collation(native).upper().endswith(("_BIN", "_BIN2"))
        weights = "" if exact else collation(native)
        length = _length(name, native, first)
        return LogicalType(Kind.TEXT, length=length, folding=not exact, weights=weights, native=native)
    if name in _BYTES:
        return LogicalType(Kind.BYTES, length=_length(name, native, first), native=native)
    if name == "rowversion":
        return LogicalType(Kind.BYTES, length=8, native=native)
    if name == "date":
        return LogicalType(Kind.DATE, native=native)
    if name in ("time", "datetime2", "datetimeoffset"):
        fraction = first if numbers else 7
        kind = Kind.TIME if name == "time" else Kind.TIMESTAMP
        return LogicalType(kind, fraction=fraction, zoned=name == "datetimeoffset", native=native)
    if name in ("datetime", "smalldatetime"):
        return LogicalType(Kind.TIMESTAMP, fraction=3 if name == "datetime" else 0, native=native)
    if name == "uniqueidentifier":
        return LogicalType(Kind.UUID, native=native)
    return LogicalType(Kind.OTHER, native=native)


def _length(name: str, native: str, first: int) -> int:
    if name in _OLD or "(max)" in native.lower():
        return 0
    return first or 1


def native(type_: LogicalType, *, key: bool = False) -> str:
    """The narrowest native type that holds every value of `type_`; `SpecError` when there is none."""
    match type_.kind:
        case Kind.BOOLEAN:
            return "bit"
        case Kind.INTEGER:
            bits = type_.bits or 64
            # tinyint is 0 to 255 and has no sign.
            if bits == 8 and type_.unsigned:
                return "tinyint"
            needed = max(16, bits + 1 if type_.unsigned else bits)
            fitting = [name for name, room in _INTEGERS.items() if name != "tinyint" and room >= needed]
            return fitting[0] if fitting else "decimal(20,0)"
        case Kind.FLOAT:
            return "real" if type_.bits == 32 else "float"
        case Kind.DECIMAL if 0 < type_.precision <= 38 and type_.scale <= 38:
            return f"decimal({type_.precision},{type_.scale})"
        case Kind.DECIMAL:
            raise errors.SpecError(
                f"{type_} has no type here that holds every value: SQL Server keeps 38 digits at most; "
                "give the column a type, such as `type: decimal(38,10)`"
            )
        case Kind.TEXT:
            return _text(type_.length, key)
        case Kind.BYTES:
            return _bytes(type_.length, key)
        case Kind.DATE:
            return "date"
        case Kind.TIME:
            return f"time({min(type_.fraction, 7)})"
        case Kind.TIMESTAMP:
            return f"{'datetimeoffset' if type_.zoned else 'datetime2'}({min(type_.fraction, 7)})"
        case Kind.UUID:
            return "uniqueidentifier"
        case Kind.JSON:
            return "nvarchar(max)"
        case Kind.OTHER if base_name(type_.native) in ("xml", *_OPAQUE):
            return type_.native
        case _:
            pass
    raise errors.SpecError(f"{type_} has no type here that holds every value")


def _text(length: int, key: bool) -> str:
    # A character beyond the basic plane takes two units; a length in characters is doubled, so that all fit.
    if key:
        if length > _KEY_BYTES // 4:
            raise errors.SpecError(f"a key of text({length}) cannot be indexed here: {_KEY_BYTES // 4} characters")
        return f"nvarchar({length * 2 or 191}) collate {EXACT}"
    return f"nvarchar({length * 2})" if 0 < length * 2 <= _UNITS else "nvarchar(max)"


def _bytes(length: int, key: bool) -> str:
    if key and length > _KEY_BYTES:
        raise errors.SpecError(f"a key of bytes({length}) cannot be indexed here: {_KEY_BYTES} bytes at most")
    if key:
        return f"varbinary({length or 255})"
    return f"varbinary({length})" if 0 < length <= 2 * _UNITS else "varbinary(max)"


def typed(expression: str, native_: str) -> str:
    """`expression` as a value of the native type, in its collation."""
    if has_code_page(native_):
        # CAST writes in the code page of what it is given, and makes ? of what that lacks: the database's, if not told.
        length = modifiers(native_)
        wide = f"nvarchar({_UNITS if length and length[0] <= _UNITS else 'max'})"
        return f"cast(cast({expression} as {wide}){collation(native_)} as {plain(native_)})"
    return f"cast({expression} as {plain(native_)}){collation(native_)}"


# -- events ------------------------------------------------------------------------------------------------------------


def event_type(column: Column) -> str:
    """An event table's column: the widest of its family, so that a wider source column cannot make a write fail."""
    type_, name = column.type, base_name(column.native)
    if name in _OLD:
        raise errors.SpecError(f"a column of type {column.native} cannot be captured: triggers do not see it")
    match type_.kind:
        case Kind.INTEGER:
            return "bigint"
        case Kind.FLOAT:
            return "float"
        case Kind.DECIMAL:
            return f"decimal(38,{type_.scale})"
        case Kind.TEXT | Kind.BYTES if type_.length:
            return f"varbinary({2 * _UNITS})"
        case Kind.TIME:
            return "time(7)"
        case Kind.TIMESTAMP:
            return {"datetime2": "datetime2(7)", "datetimeoffset": "datetimeoffset(7)"}.get(name, name)
        case Kind.BOOLEAN | Kind.DATE | Kind.UUID:
            return name
        case _:
            pass
    raise errors.SpecError(f"a column of type {column.native} cannot be part of a key: it cannot be indexed here")


def event_value(expression: str, native_: str) -> str:
    """A value as an event keeps it: a text as its UTF-16, because nothing else tells 'a' from 'A' and from 'a '."""
    if not is_text(native_):
        return expression
    # What fills a CHAR up is not part of it.
    return exact(f"rtrim({expression})" if base_name(native_) in ("char", "nchar") else expression)


def from_event(expression: str, native_: str) -> str:
    """What `event_value` kept, as a value of the column's type."""
    if is_text(native_):
        return typed(f"cast({expression} as nvarchar({_UNITS}))", native_)
    return typed(expression, native_)


def exact(expression: str) -> str:
    """A short text as its bytes: equal only to the same text."""
    return f"cast(cast({expression} as nvarchar({_UNITS})) as varbinary({2 * _UNITS}))"


# -- comparing ---------------------------------------------------------------------------------------------------------


def comparable(expression: str, native_: str) -> list[str]:
    """What differs whenever two values of a column do: for a set operation, which takes NULLs for equal."""
    name = base_name(native_)
    if name in _TEXTS or name in ("xml", "image", *_OPAQUE):
        # The length beside it, for a comparison of bytes may not count zeros at the end.
        through = "nvarchar(max)" if name == "xml" else _OLD.get(name, "")
        inner = f"cast({expression} as {through})" if through else expression
        return [f"cast({inner} as varbinary(max))", f"datalength({expression})"]
    if name in _BYTES:
        return [expression, f"datalength({expression})"]
    return [expression]


# -- values ------------------------------------------------------------------------------------------------------------

_TEXT_OF = {
    "date": (10, 23),
    "time": (8, 121),
    "datetime": (23, 121),
    "datetime2": (19, 121),
    "smalldatetime": (19, 120),
}
"""Characters before the point, and the style of CONVERT by which a moment is text: ISO, with all digits that the type
keeps (pyodbc drops the seventh) and no more."""


def selected(expression: str, native_: str) -> str:
    """How a value is selected so that the driver yields what `decode` expects, whichever driver it is."""
    name = base_name(native_)
    if name == "sql_variant":
        raise errors.SpecError(
            "a column of type sql_variant cannot be copied, for a value's type would be lost; exclude it, or name an "
            "expression with a type"
        )
    if name in _TEXT_OF:
        length, style = _TEXT_OF[name]
        fraction = logical(native_).fraction if name in ("time", "datetime2") else 0
        return f"convert(varchar({length + fraction + 1 if fraction else length}), {expression}, {style})"
    if name == "datetimeoffset":
        return f"convert(varchar(27), {_utc(expression)}, 121)"
    if name in ("char", "nchar"):
        return f"rtrim({expression})"
    if name in _OLD:
        return f"cast({expression} as {_OLD[name]})"
    if name == "xml":
        return f"cast({expression} as nvarchar(max))"
    if name in _OPAQUE or name == "rowversion":
        return f"cast({expression} as varbinary({'max' if name in _OPAQUE else 8}))"
    return expression


def _utc(expression: str) -> str:
    return f"cast(switchoffset({expression}, '+00:00') as datetime2(7))"


def decode(type_: LogicalType) -> Callable[[Any], Any] | None:
    """From what pyodbc yields to the canonical value, or None where they are the same."""
    if type_.kind is Kind.TIMESTAMP and type_.zoned:
        return _trimmed_moment
    return _DECODERS.get(type_.kind)


def _plain_decimal(value: Any) -> str:
    return format(value if isinstance(value, decimal.Decimal) else decimal.Decimal(str(value)), "f")


def _moment(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _trimmed_moment(value: Any) -> str:
    # In UTC, always with seven digits here: without the zeros that say nothing.
    whole, _, fraction = _moment(value).partition(".")
    digits = fraction.rstrip("0")
    return f"{whole}.{digits}" if digits else whole


_DECODERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.DECIMAL: _plain_decimal,
    Kind.DATE: _moment,
    Kind.TIME: _moment,
    Kind.TIMESTAMP: _moment,
    Kind.UUID: lambda value: str(value).lower(),
    Kind.BYTES: bytes,
    Kind.BOOLEAN: bool,
}


def encode(type_: LogicalType) -> Callable[[Any], Any] | None:
    """From the canonical value to what a parameter takes, or None where they are the same."""
    return {"datetime": _thirds, "smalldatetime": _minutes}.get(base_name(type_.native)) if type_.native else None


_DIGITS = re.compile(r"\.(\d+)$")


def _thirds(value: Any) -> Any:
    """A datetime keeps three-hundredths of a second: 0, 3 and 7 thousandths. It rounds the others, and we do not."""
    if _instant(value) < "1753":
        raise _refused("a moment before the year 1753")
    found = _DIGITS.search(str(value))
    if found:
        digits = found[1].ljust(7, "0")
        if digits[2] not in "037" or digits[3:].strip("0"):
            raise errors.Rejected("a moment is finer than the three-hundredths of a second of datetime", kind="type")
    return value


def _minutes(value: Any) -> Any:
    """A smalldatetime keeps minutes."""
    if not "1900" <= _instant(value) < "2079-06-07":
        raise _refused("a moment beyond the years of smalldatetime")
    if not re.search(r" \d\d:\d\d(:00(\.0*)?)?$", str(value)):
        raise errors.Rejected("a moment is finer than the minute of smalldatetime", kind="type")
    return value


def as_json(type_: LogicalType, encoding: str = "utf-8") -> Converter:
    """From the canonical value to what JSON carries it as: `arrived` makes a value of the type of it again.

    What the type has no room for is refused here. The server cuts a text or bytes to their length without a word, and
    where it does fail to convert, the whole transaction is gone. encoding: of the type's code page, if it has one.
    """
    if (encoder := encode(type_)) is not None:
        return encoder
    match type_.kind:
        case Kind.INTEGER:
            return _whole(*_RANGES[base_name(type_.native)]) if base_name(type_.native) in _RANGES else int
        case Kind.DECIMAL:
            return _digits(type_)
        case Kind.FLOAT:
            return _finite if type_.bits != 32 else _short_float
        case Kind.TEXT:
            return _text_of(type_.native, encoding)
        case Kind.BYTES:
            bytes_of = _bytes_of(type_.length)
            return lambda value: bytes_of(value).hex()
    return _TO_JSON.get(type_.kind, str)


def as_parameter(type_: LogicalType, encoding: str = "utf-8") -> Converter:
    """From the canonical value to a parameter of its own: bytes as they are, all else as a text."""
    if type_.kind is Kind.BYTES:
        return _bytes_of(type_.length)
    render = as_json(type_, encoding)
    return lambda value: str(render(value))


_RANGES = {name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in _INTEGERS.items()} | {"tinyint": (0, 255)}
_LEAST_MONEY = {"money": "922337203685477.5808", "smallmoney": "214748.3648"}
_EXACTLY = decimal.Context(prec=100)


def _refused(what: str, kind: str = "type") -> errors.Rejected:
    return errors.Rejected(f"{what} has no place here", kind=kind)


def _whole(low: int, high: int) -> Converter:
    def whole(value: Any) -> int:
        number = int(value)
        if not low <= number <= high:
            raise _refused("a number beyond the type's range")
        return number

    return whole


def _digits(type_: LogicalType) -> Converter:
    beyond = _beyond(type_)

    def digits(value: Any) -> str:
        text = str(value)
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise _refused("a decimal that is no number")
        if decimal.Decimal(text).copy_abs() >= beyond:
            raise _refused("a number of more digits than the type has")
        return text

    return digits


def _beyond(type_: LogicalType) -> decimal.Decimal:
    """Of the numbers without a sign that the type does not hold when they are rounded, the least."""
    if not type_.precision:
        return decimal.Decimal("Infinity")
    nines = decimal.Decimal((0, (9,) * type_.precision, -type_.scale))
    most = decimal.Decimal(_LEAST_MONEY.get(base_name(type_.native), nines))
    return _EXACTLY.add(most, decimal.Decimal((0, (5,), -type_.scale - 1)))


def _finite(value: Any) -> str:
    number = float(value)
    if not math.isfinite(number):
        raise _refused("a float that is no number")
    return repr(number)


def _short_float(value: Any) -> str:
    text = _finite(value)
    try:
        struct.pack("<f", float(text))
    except OverflowError:
        raise _refused("a float beyond the range of real") from None
    return text


def _truth(value: Any) -> int:
    if value not in (0, 1):
        raise _refused("a number beside 0 and 1")
    return int(value)


def _text_of(native_: str, encoding: str) -> Converter:
    numbers, narrow = modifiers(native_), has_code_page(native_)
    most = numbers[0] if numbers else 0

    def text_of(value: Any) -> str:
        text = str(value)
        if text.isascii():
            size = len(text)
        elif narrow:
            try:
                size = len(text.encode(encoding))
            except UnicodeEncodeError:
                raise _refused("a character that the code page of the column lacks") from None
        else:
            size = len(text.encode("utf-16-le", "surrogatepass")) // 2
        if most and size > most:
            raise _refused("a text that is longer than the column", "length")
        return text

    return text_of


def _bytes_of(most: int) -> Callable[[Any], bytes]:
    def bytes_of(value: Any) -> bytes:
        given = value.encode() if isinstance(value, str) else bytes(value)
        if most and len(given) > most:
            raise _refused("a value that is longer than the column", "length")
        return given

    return bytes_of


_DAY, _CLOCK = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,7})?")


def _day(value: Any) -> str:
    text = str(value)
    if _DAY.fullmatch(text):
        with contextlib.suppress(ValueError):
            datetime.date.fromisoformat(text)
            return text
    raise _refused("a date beyond the years 1 to 9999, or none,")


def _clock(value: Any) -> str:
    text = str(value)
    if not _CLOCK.fullmatch(text):
        raise _refused("a time that is none of a day")
    return text


def _instant(value: Any) -> str:
    text = str(value)
    _day(text[:10])
    if text[10:] and (text[10] != " " or not _CLOCK.fullmatch(text[11:])):
        raise _refused("a moment beyond the years 1 to 9999, or none,")
    return text


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _uuid_of(value: Any) -> str:
    text = str(value)
    if not _UUID.fullmatch(text):
        raise _refused("a text that is no UUID")
    return text


_TO_JSON: dict[Kind, Converter] = {
    Kind.BOOLEAN: _truth,
    Kind.DATE: _day,
    Kind.TIME: _clock,
    Kind.TIMESTAMP: _instant,
    Kind.UUID: _uuid_of,
}


def carried(type_: LogicalType) -> str:
    """The type in which a value comes out of JSON, or is bound as a parameter, before `arrived` casts it."""
    if type_.kind is Kind.OTHER and base_name(type_.native) in _OPAQUE:
        return "nvarchar(max)"
    if type_.kind in (Kind.TEXT, Kind.JSON, Kind.BYTES, Kind.OTHER):
        return "nvarchar(max)"
    return "nvarchar(60)"


def arrived(expression: str, type_: LogicalType, native_: str) -> str:
    """What `carried` brought, as a value of the native type."""
    name = base_name(native_)
    if type_.kind is Kind.BYTES or name in _OPAQUE:
        return f"cast(convert(varbinary(max), {expression}, 2) as {plain(native_)})"
    if name in ("datetime", "smalldatetime"):
        # A text with seven digits is none of theirs.
        return f"cast(cast({expression} as datetime2(7)) as {name})"
    return typed(expression, native_)


# -- checksums ---------------------------------------------------------------------------------------------------------


def canonical(expression: str, type_: LogicalType, precision: LogicalType) -> str:
    """SQL that renders a value as the text that every engine renders."""
    name = base_name(type_.native)
    match type_.kind:
        case Kind.BOOLEAN:
            return f"case {expression} when 1 then N'1' when 0 then N'0' end"
        case Kind.INTEGER:
            return f"convert(nvarchar(20), {expression})"
        case Kind.DECIMAL:
            return _short_decimal(expression, type_, precision)
        case Kind.TEXT:
            return f"convert(nvarchar(max), {expression})"
        case Kind.UUID:
            return f"lower(convert(nvarchar(36), {expression}))"
        case Kind.BYTES:
            digest = f"hashbytes('SHA2_256', cast({expression} as varbinary(max)))"
            return f"lower(convert(nvarchar(64), {digest}, 2))"
        case Kind.DATE:
            return f"convert(nvarchar(10), {expression}, 23)"
        case Kind.TIME:
            return _cut(f"convert(nvarchar(16), cast({expression} as time(7)), 121)", 9, type_, precision)
        case Kind.TIMESTAMP if name == "datetime":
            # As datetime2 it would have the rest of the third of a second as well.
            return _cut(f"(convert(nvarchar(23), {expression}, 121) + N'0000')", 20, type_, precision)
        case Kind.TIMESTAMP:
            moment = _utc(expression) if type_.zoned else f"cast({expression} as datetime2(7))"
            return _cut(f"convert(nvarchar(27), {moment}, 121)", 20, type_, precision)
        case _:
            pass
    raise NotImplementedError(f"{type_} has no text that all engines agree on")


def _cut(rendered: str, point: int, type_: LogicalType, precision: LogicalType) -> str:
    """Only as many digits of a second as both keep, and zeros for the rest; `point` characters go before them."""
    kept = min(type_.fraction, precision.fraction, 6) if precision.kind is type_.kind else min(type_.fraction, 6)
    zeros = f" + N'{'0' * (6 - kept)}'" if kept < 6 else ""
    return f"(left({rendered}, {point + kept}){zeros})"


def _short_decimal(expression: str, type_: LogicalType, precision: LogicalType) -> str:
    scale = type_.scale
    if precision.kind is Kind.DECIMAL and precision.precision:
        scale = min(scale, precision.scale)
    number = f"cast(round({expression}, {scale}) as decimal(38,{scale}))"
    text = f"convert(nvarchar(60), {number})"
    if not scale:
        return text
    # No TRIM takes other characters than blanks before 2022.
    trimmed = f"replace(rtrim(replace({text}, N'0', N' ')), N' ', N'0')"
    return f"replace(rtrim(replace({trimmed}, N'.', N' ')), N' ', N'.')"


def hashed(texts: Sequence[str]) -> str:
    """SQL for the 60-bit number of `base.Dialect.hashed`."""
    parts = [f"coalesce({_characters(text)} + N':' + {text}, N'-')" for text in texts]
    joined = f"cast(({' + '.join(parts)}) as nvarchar(max))" if parts else "cast(N'' as nvarchar(max))"
    digest = f"hashbytes('SHA2_256', cast(cast({joined} collate {_UTF8} as varchar(max)) as varbinary(max)))"
    head = f"cast(substring({digest}, 1, 7) as bigint)"
    return f"({head} * 16 + cast(substring({digest}, 8, 1) as int) / 16)"


def _characters(text: str) -> str:
    # LEN does not count blanks at the end.
    return f"convert(nvarchar(20), len(({text} + N'.') collate {_CHARACTERS}) - 1)"
