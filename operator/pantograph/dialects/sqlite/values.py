"""What SQLite's columns hold: declared types to logical ones and back, and values to their canonical form.

SQLite stores any kind of value in any column; the declared type only leans on it (its *affinity*). So a declaration is
taken at its word, and a value that is not of that kind is refused (`Rejected`) rather than guessed at. Nothing here
quotes a value.
"""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pantograph import errors
from pantograph.model.converters import Columnwise, Converter, Whole, holds, passing
from pantograph.model.types import ACCENTS, BLANKS, CASE, Kind, LogicalType

EXACT_DIGITS = 15
"""Decimal digits that survive a trip through a double, which is what a column of NUMERIC affinity makes of them."""

_INTEGERS = {
    "INT", "INTEGER", "TINYINT", "SMALLINT", "MEDIUMINT", "BIGINT", "INT2", "INT4", "INT8", "UNSIGNED BIG INT",
    "UNSIGNED BIGINT", "BIGINT UNSIGNED", "INT UNSIGNED", "INTEGER UNSIGNED", "UNSIGNED INT",
}  # fmt: skip
_DECIMALS = {"DECIMAL", "NUMERIC", "NUMBER", "DECIMAL_TEXT", "MONEY"}
_FLOATS = {"REAL", "DOUBLE", "DOUBLE PRECISION", "FLOAT", "FLOAT4", "FLOAT8"}
_TEXTS = {
    "TEXT", "CHAR", "CHARACTER", "VARCHAR", "VARYING CHARACTER", "CHARACTER VARYING", "NCHAR", "NATIVE CHARACTER",
    "NVARCHAR", "CLOB", "STRING",
}  # fmt: skip
_APART = {"NOCASE": frozenset({ACCENTS, BLANKS}), "RTRIM": frozenset({CASE, ACCENTS})}
_BYTES = {"BLOB", "BINARY", "VARBINARY", "BYTEA"}
_ZONED = {"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "DATETIMETZ", "DATETIMEOFFSET"}
_PLAIN = {
    "BOOLEAN": LogicalType(Kind.BOOLEAN),
    "BOOL": LogicalType(Kind.BOOLEAN),
    "DATE": LogicalType(Kind.DATE),
    "TIME": LogicalType(Kind.TIME),
    "DATETIME": LogicalType(Kind.TIMESTAMP),
    "TIMESTAMP": LogicalType(Kind.TIMESTAMP),
    "TIMESTAMP WITHOUT TIME ZONE": LogicalType(Kind.TIMESTAMP),
    "UUID": LogicalType(Kind.UUID),
    "GUID": LogicalType(Kind.UUID),
    "UNIQUEIDENTIFIER": LogicalType(Kind.UUID),
    "JSON": LogicalType(Kind.JSON),
    "JSON_TEXT": LogicalType(Kind.JSON),
}
_DECLARED = re.compile(r"\s*(?P<name>[^(]*?)\s*(?:\(\s*(?P<a>\d+)\s*(?:,\s*(?P<b>\d+)\s*)?\)\s*(?P<rest>.*))?\s*", re.S)


def logical(declared: str, collation: str = "") -> LogicalType:
    """The logical type of a column declared like this.

    Every integer is of 64 bits, whatever its name: SQLite keeps all of them. A length is taken at its word although
    SQLite does not enforce it: VARCHAR(10) fits VARCHAR(10), and a longer value is refused by the destination when it
    comes.
    """
    match = _DECLARED.fullmatch(declared)
    name = " ".join(f"{match['name']} {match['rest'] or ''}".upper().split()) if match else declared.upper()
    first, second = (int(match["a"] or 0), int(match["b"] or 0)) if match else (0, 0)
    folding = collation.upper() not in ("", "BINARY")
    apart = _APART.get(collation.upper())
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _ZONED:
        return LogicalType(Kind.TIMESTAMP, zoned=True)
    if name in _INTEGERS:
        return LogicalType(Kind.INTEGER, bits=64)
    if name in _DECIMALS:
        return LogicalType(Kind.DECIMAL, precision=first, scale=second)
    if name in _FLOATS:
        return LogicalType(Kind.FLOAT, bits=64)
    if name in _TEXTS:
        return LogicalType(Kind.TEXT, length=first, folding=folding, apart=apart)
    if name in _BYTES:
        return LogicalType(Kind.BYTES, length=first)
    # A name we do not know leans the way SQLite says it does: https://sqlite.org/datatype3.html#determination
    if "INT" in name:
        return LogicalType(Kind.INTEGER, bits=64)
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return LogicalType(Kind.TEXT, length=first, folding=folding, apart=apart)
    if "BLOB" in name:
        return LogicalType(Kind.BYTES)
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return LogicalType(Kind.FLOAT, bits=64)
    return LogicalType(Kind.OTHER, native=declared)


def native(type_: LogicalType) -> str:
    """The declaration that keeps every value of a logical type, and that `logical` reads back as it.

    Affinity decides the names. DECIMAL leans towards doubles, which keep 15 digits and no more, so that longer ones are
    declared DECIMAL_TEXT; JSON would turn the text `1.0` into the number 1, so it is JSON_TEXT. The names of dates,
    times and UUIDs lean towards numbers too, but no text of theirs looks like one.
    """
    match type_.kind:
        case Kind.BOOLEAN:
            return "BOOLEAN"
        case Kind.INTEGER:
            # The one integer that 64 signed bits do not hold.
            return "DECIMAL_TEXT(20,0)" if type_.unsigned and type_.bits >= 64 else "INTEGER"
        case Kind.DECIMAL:
            if not type_.precision:
                return "DECIMAL_TEXT"
            exact = type_.precision <= EXACT_DIGITS
            return f"{'DECIMAL' if exact else 'DECIMAL_TEXT'}({type_.precision},{type_.scale})"
        case Kind.FLOAT:
            return "REAL"
        case Kind.TEXT:
            return f"VARCHAR({type_.length})" if type_.length else "TEXT"
        case Kind.BYTES:
            return f"VARBINARY({type_.length})" if type_.length else "BLOB"
        case Kind.DATE:
            return "DATE"
        case Kind.TIME:
            return "TIME"
        case Kind.TIMESTAMP:
            return "TIMESTAMPTZ" if type_.zoned else "TIMESTAMP"
        case Kind.UUID:
            return "UUID"
        case Kind.JSON:
            return "JSON_TEXT"
        case Kind.INTERVAL:
            return "TEXT"
        case Kind.OTHER:
            return type_.native
    raise errors.SpecError(f"SQLite has no type for {type_}")


# -- from storage to canonical -----------------------------------------------------------------------------------------


def _refused(value: Any, wanted: str) -> errors.Rejected:
    kinds = {int: "an integer", float: "a real number", str: "a text", bytes: "a blob"}
    return errors.Rejected(f"the column holds {kinds.get(type(value), 'a value')} that is not {wanted}", kind="type")


def boolean(value: Any) -> bool:
    """True or False; 1 and 0, and their words."""
    if value == 1 and not isinstance(value, str):
        return True
    if value == 0 and not isinstance(value, str):
        return False
    if isinstance(value, str) and value.lower() in ("true", "t", "1"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "f", "0"):
        return False
    raise _refused(value, "true or false (0 or 1)")


def integer(value: Any) -> int:
    """An integer; a real number that is whole and small enough to be exact passes."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    raise _refused(value, "an integer")


def real(value: Any) -> float:
    """A double."""
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        return float(value)
    raise _refused(value, "a number")


def text(value: Any) -> str:
    """A text; a number is what SQLite prints for it (a column of an odd declaration turns `12` into one)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    # A blob is not decoded even where it could be: it would not be found again under the text it was made into.
    raise _refused(value, "a text")


def binary(value: Any) -> bytes:
    """Bytes; a text is its UTF-8."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise _refused(value, "a blob")


def decimal(scale: int | None) -> Callable[[Any], str]:
    """To plain digits.

    A real number in a column of two decimals is shown with two: what a double has beyond them is its own noise. One
    that has a third digit is refused, because nothing is rounded in silence.
    """
    unit = Decimal(1).scaleb(-scale) if scale is not None else None

    def convert(value: Any) -> str:
        if type(value) is int:
            return f"{value}.{'0' * scale}" if scale else str(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise _refused(value, "a decimal number")
            if scale is not None and float(shown := f"{value:.{scale}f}") == value:
                return shown  # the very double that these digits are stored as: nearly always, and ten times as fast
            number = Decimal(repr(value))
            if unit is not None:
                rounded = number.quantize(unit)
                if abs(number - rounded) > unit / 1000:
                    raise _refused(value, f"a decimal number of {scale} digits after the point")
                number = rounded
            return f"{number:f}"
        if isinstance(value, str):
            if value in _NO_NUMBERS:
                return value
            try:
                parsed = Decimal(value)
            except InvalidOperation:
                raise _refused(value, "a decimal number") from None
            if not parsed.is_finite():
                raise _refused(value, "a decimal number")
            if scale is not None and _finer(parsed, scale):
                raise _refused(value, f"a decimal number of {scale} digits after the point")
            return value if _PLAIN_DIGITS.fullmatch(value) else f"{parsed:f}"
        raise _refused(value, "a decimal number")

    return convert


def _finer(number: Decimal, scale: int) -> bool:
    """Has it more digits than these behind the point? A destination would round them away."""
    _, digits, exponent = number.as_tuple()
    beyond = -int(exponent) - scale
    return beyond > 0 and any(digits[-beyond:])


_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
"""What a decimal of PostgreSQL's may be as well; a text here, of which no affinity makes anything else."""
_PLAIN_DIGITS = re.compile(r"-?\d+(\.\d+)?")
_DATE = re.compile(r"-?\d{4,6}-\d\d-\d\d")
_DATE_AT_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00(?::00(?:\.0+)?)?")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?")
_LOOSE_TIME = re.compile(r"(\d\d:\d\d)(:\d\d)?(\.\d+)?")
_TIMESTAMP = re.compile(r"-?\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?")
_LOOSE_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?(\.\d+)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?", re.IGNORECASE
)


def date(value: Any) -> str:
    """`YYYY-MM-DD`; a time of midnight is dropped."""
    if isinstance(value, str):
        if _DATE.fullmatch(value):
            return value
        loose = _DATE_AT_MIDNIGHT.fullmatch(value)
        if loose:
            return loose[1]
    raise _refused(value, "a date (YYYY-MM-DD)")


def time(value: Any) -> str:
    """`HH:MM:SS[.ffffff]`."""
    if isinstance(value, str):
        if _TIME.fullmatch(value):
            return value
        loose = _LOOSE_TIME.fullmatch(value)
        if loose:
            return f"{loose[1]}{loose[2] or ':00'}{_fraction(value, loose[3])}"
    raise _refused(value, "a time (HH:MM:SS)")


def timestamp(value: Any) -> str:
    """`YYYY-MM-DD HH:MM:SS[.ffffff]`; a `T` in the middle passes, an offset is taken to UTC.

    Numbers are refused: they may count seconds, milliseconds or Julian days. An expression of the manifest can say
    which (`datetime(created, 'unixepoch')`).
    """
    if isinstance(value, str):
        if _TIMESTAMP.fullmatch(value):
            return value
        loose = _LOOSE_TIMESTAMP.fullmatch(value)
        if loose:
            day, clock, seconds, fraction, zone = loose.groups()
            plain = f"{day} {clock or '00:00'}{seconds or ':00'}{_fraction(value, fraction)}"
            return _in_utc(value, plain, zone) if zone and zone.upper() not in ("Z", "UTC") else plain
    raise _refused(value, "a timestamp (YYYY-MM-DD HH:MM:SS)")


def _fraction(value: Any, digits: str | None) -> str:
    if digits and len(digits) > 7 and digits[7:].strip("0"):
        raise _refused(value, "a time with six digits after the second at most")
    return (digits or "")[:7]


def _in_utc(value: Any, plain: str, zone: str) -> str:
    try:
        shifted = datetime.fromisoformat(plain + zone).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _refused(value, "a timestamp (YYYY-MM-DD HH:MM:SS)") from None
    return shifted.isoformat(" ")


def uuid_(value: Any) -> str:
    """Lower case with dashes, from either of the two spellings or from 16 bytes."""
    try:
        if isinstance(value, str):
            return str(uuid.UUID(value))
        if isinstance(value, bytes):
            return str(uuid.UUID(bytes=value))
    except ValueError:
        pass
    raise _refused(value, "a UUID")


def json_(value: Any) -> str:
    """JSON's text; a number that a column of another affinity made of it is that number's text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return str(value)
    raise _refused(value, "JSON")


def decoder(type_: LogicalType) -> Converter | None:
    """The converter of a logical type; None for values that go as they are."""
    match type_.kind:
        case Kind.DECIMAL:
            one = decimal(type_.scale if type_.precision else None)
            return Columnwise(one, _decimals(type_.scale)) if type_.precision else one
        case Kind.OTHER:
            return None
    one = _DECODERS[type_.kind]
    return Columnwise(one, _WHOLE[type_.kind]) if type_.kind in _WHOLE else one


def _decimals(scale: int) -> Whole:
    shown = f"%.{scale}f".__mod__

    def whole(column: Sequence[Any]) -> Sequence[Any] | None:
        if not holds(column, float, int):
            return None
        given = [value for value in column if value is not None]
        digits = list(map(shown, given))
        # The very doubles that these digits are stored as; of an integer that no double holds this is not so. A sum
        # that has something in it which is not finite is not either.
        if not math.isfinite(sum(given)) or list(map(float, digits)) != given:
            return None
        if len(given) == len(column):
            return digits
        left = iter(digits)
        return [None if value is None else next(left) for value in column]

    return whole


def _booleans(column: Sequence[Any]) -> Sequence[Any] | None:
    return list(map(_TRUTH.__getitem__, column)) if holds(column, int) and _TRUTH.keys() >= set(column) else None


_TRUTH = {0: False, 1: True, None: None}


_DIGITS = str.maketrans("123456789", "0" * 9)
_FRACTIONS = ("", *("." + "0" * digits for digits in range(1, 7)))


def _written(*shapes: str) -> Whole:
    """Texts of these shapes, with digits where a shape has zeros, go as they are: a form's usual ones. What else there
    is of the form is told value by value, which takes three times as long."""
    usual = frozenset(shapes)

    def whole(column: Sequence[Any]) -> Sequence[Any] | None:
        if not holds(column, str):
            return None
        given = [value for value in column if value is not None]
        found = "\n".join(given).translate(_DIGITS).split("\n")
        return column if usual.issuperset(found) and len(found) == len(given) else None

    return whole


_WRITTEN = {
    Kind.DATE: _written("0000-00-00"),
    Kind.TIME: _written(*(f"00:00:00{fraction}" for fraction in _FRACTIONS)),
    Kind.TIMESTAMP: _written(*(f"0000-00-00 00:00:00{fraction}" for fraction in _FRACTIONS)),
}


_DECODERS: dict[Kind, Converter] = {
    Kind.BOOLEAN: boolean,
    Kind.INTEGER: integer,
    Kind.FLOAT: real,
    Kind.BYTES: binary,
    Kind.TEXT: text,
    Kind.DATE: date,
    Kind.TIME: time,
    Kind.TIMESTAMP: timestamp,
    Kind.INTERVAL: text,
    Kind.UUID: uuid_,
    Kind.JSON: json_,
}


_WHOLE: dict[Kind, Whole] = {
    Kind.BOOLEAN: _booleans,
    Kind.INTEGER: passing(int),
    Kind.FLOAT: passing(float),
    Kind.BYTES: passing(bytes),
    Kind.TEXT: passing(str),
    Kind.INTERVAL: passing(str),
    Kind.JSON: passing(str),
    **_WRITTEN,
}


def encode_real(value: Any) -> Any:
    """SQLite stores NaN as NULL: that is not what was sent."""
    if value != value:
        raise errors.Rejected("SQLite stores NaN as NULL", kind="type")
    return value


def encode_decimal(value: Any) -> Any:
    """Integers as the digits that decimals are sent as."""
    return str(value) if isinstance(value, int) else value


def _only(form: re.Pattern[str], wanted: str) -> Converter:
    """As it is, where it would be read back: SQLite itself takes whatever comes."""

    def encode(value: Any) -> Any:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise errors.Rejected(f"a value from elsewhere is not {wanted}", kind="type")
        return value

    return encode


def encode_boolean(value: Any) -> Any:
    """A number beside 0 and 1 would not be read back."""
    if value not in (0, 1):
        raise errors.Rejected("a number beside 0 and 1 is no boolean", kind="type")
    return value


def encoder(type_: LogicalType) -> Converter | None:
    """From canonical to storage; what `decoder` would not read is refused."""
    return _ENCODERS.get(type_.kind)


_ENCODERS: dict[Kind, Converter] = {
    Kind.BOOLEAN: Columnwise(encode_boolean, lambda column: column if set(column) <= {0, 1, None} else None),
    Kind.FLOAT: encode_real,
    # A source's integer may be wider than 63 bits, and then stands in a column of decimals.
    Kind.DECIMAL: Columnwise(encode_decimal, passing(str)),
    Kind.DATE: Columnwise(_only(_DATE, "a date (YYYY-MM-DD)"), _WRITTEN[Kind.DATE]),
    Kind.TIME: Columnwise(_only(_TIME, "a time (HH:MM:SS)"), _WRITTEN[Kind.TIME]),
    Kind.TIMESTAMP: Columnwise(_only(_TIMESTAMP, "a timestamp (YYYY-MM-DD HH:MM:SS)"), _WRITTEN[Kind.TIMESTAMP]),
}


# -- functions that our own connections have ---------------------------------------------------------------------------

MALFORMED = b"?"
"""What `exact` yields for a key that is not stored in its canonical form: every decoder but one refuses it."""

LOOSE_KEYS = frozenset(Kind) - {Kind.INTEGER, Kind.TEXT, Kind.OTHER, Kind.JSON, Kind.INTERVAL}
"""Kinds that SQLite may hold in more than one form."""


def exact(kind: str, scale: int, value: Any) -> Any:
    """A key's value, if it is found again by its canonical form; otherwise something that its decoder refuses.

    A cursor and a noted key are canonical values that are compared with what is stored: a timestamp that is stored with
    a `T` would be met again and again.
    """
    if value is None:
        return None
    refused: Any = 0 if kind == Kind.BYTES else MALFORMED
    convert = decimal(scale if scale >= 0 else None) if kind == Kind.DECIMAL else _DECODERS[Kind(kind)]
    try:
        converted = convert(value)
    except errors.Rejected:
        return refused
    if kind == Kind.DECIMAL and isinstance(value, float):
        return value if float(converted) == value else refused
    if kind == Kind.DECIMAL and isinstance(value, int):
        return value
    return value if converted == value else refused


def hashed(*texts: str | None) -> int:
    """`Dialect.hashed`."""
    joined = "".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
    return int(hashlib.sha256(joined.encode()).hexdigest()[:15], 16)


def rendered(kind: str, fraction: int, value: Any) -> str | None:
    """`Dialect.canonical` for the kinds that SQL cannot render; what is not of the kind renders as a lone `?`."""
    if value is None:
        return None
    try:
        match Kind(kind):
            case Kind.BOOLEAN:
                return "1" if boolean(value) else "0"
            case Kind.DECIMAL:
                number = decimal(fraction if fraction >= 0 else None)(value)
                return number if number in _NO_NUMBERS else _shortest(number)
            case Kind.DATE:
                return date(value)
            case Kind.TIME:
                return _six_digits(time(value), fraction)
            case Kind.TIMESTAMP:
                return _six_digits(timestamp(value), fraction)
            case Kind.UUID:
                return uuid_(value)
            case Kind.TEXT | Kind.JSON | Kind.INTERVAL:
                return text(value)
            case Kind.INTEGER:
                return str(integer(value))
            case Kind.BYTES:
                return hashlib.sha256(binary(value)).hexdigest()
    except errors.Rejected:
        return "?"
    return "?"


def _six_digits(value: str, fraction: int) -> str:
    whole, _, digits = value.partition(".")
    return f"{whole}.{digits[:fraction].ljust(6, '0')}"


def _shortest(number: str) -> str:
    shown = f"{Decimal(number):f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return "0" if shown in ("-0", "") else shown


class Total:
    """`Dialect.total`: a sum that does not overflow, as text."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, value: int | None) -> None:
        """One more value."""
        self._sum += value or 0

    def finalize(self) -> str:
        """The sum."""
        return str(self._sum)


FUNCTIONS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("pantograph_exact", 3, exact),
    ("pantograph_hash", -1, hashed),
    ("pantograph_text", 3, rendered),
    ("pantograph_bytes", 1, lambda text: None if text is None else bytes.fromhex(text)),
    ("pantograph_real", 1, lambda text: None if text is None else float(text)),
)
"""Name, number of arguments (-1: any), function; all of them deterministic."""
