"""Column types of the MySQL family: to logical types and back, and the texts that checksums are made of.

`native` of a text column carries character set and collation (`varchar(20) character set utf8mb4 collate
utf8mb4_bin`): a stage's columns are declared with it, so that a join with the table meets one collation and an index.
"""

from __future__ import annotations

import decimal
import math
import re
import struct
from collections.abc import Sequence

from pantograph import errors
from pantograph.dialects.mysql.variants import Variant
from pantograph.model.tables import Column
from pantograph.model.types import ACCENTS, BLANKS, CASE, Kind, LogicalType

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_UNLIMITED = {"longtext", "longblob"}
_LENGTHS = {
    "tinytext": 255, "text": 65535, "mediumtext": 16777215, "tinyblob": 255, "blob": 65535, "mediumblob": 16777215,
}  # fmt: skip

_NATIVE = re.compile(r"(?P<base>\w+)(?:\((?P<modifiers>[^()]*)\))?(?P<rest>.*)", re.DOTALL)
_COLLATED = re.compile(r" character set (?P<charset>\w+) collate (?P<collation>\w+)$")


def base_name(native: str) -> str:
    """`int` of `int(11) unsigned`."""
    found = _NATIVE.match(native)
    return found["base"].lower() if found else native.lower()


def modifiers(native: str) -> tuple[int, ...]:
    """`(12, 2)` of `decimal(12,2)`."""
    found = _NATIVE.match(native)
    parts = (found["modifiers"] or "").split(",") if found else []
    return tuple(int(part) for part in parts if part.strip().isdigit())


def collation(native: str) -> tuple[str, str] | None:
    """Character set and collation of a text column's native type."""
    found = _COLLATED.search(native)
    return (found["charset"], found["collation"]) if found else None


def logical(native: str, length: int = 0, *, json: bool = False) -> LogicalType:
    """A native type as a logical one. length: what the catalog says of text and bytes (characters, bytes); 0: what the
    type itself says."""
    name, numbers = base_name(native), modifiers(native)
    length = length or _LENGTHS.get(name, 0) or (numbers[0] if numbers else 0)
    unsigned = " unsigned" in native and name not in _TEXTS
    first = numbers[0] if numbers else 0
    if json or name == "json":
        # MySQL writes a document anew in an order and with blanks of its own; PostgreSQL's `json` keeps it as it came.
        return LogicalType(Kind.JSON, native=_REWRITTEN if name == "json" else native)
    if (name == "tinyint" and first == 1 and not unsigned) or (name == "bit" and first <= 1):
        return LogicalType(Kind.BOOLEAN, native=native)
    if name in _INTEGERS:
        return LogicalType(Kind.INTEGER, bits=_INTEGERS[name], unsigned=unsigned, native=native)
    if name in ("bit", "year"):
        return LogicalType(Kind.INTEGER, bits=64 if name == "bit" else 16, unsigned=True, native=native)
    if name == "decimal":
        scale = numbers[1] if len(numbers) > 1 else 0
        return LogicalType(Kind.DECIMAL, precision=first or 10, scale=scale, unsigned=unsigned, native=native)
    if name in ("float", "double"):
        return LogicalType(Kind.FLOAT, bits=32 if name == "float" else 64, native=native)
    if name in _TEXTS:
        collated = collation(native)
        folding = collated is None or not collated[1].endswith(("_nopad_bin", "_0900_bin"))
        apart = _apart(collated[1]) if collated and folding else None
        weights = _weights(collated[1]) if collated and folding else ""
        limit = 0 if name in _UNLIMITED else length
        return LogicalType(Kind.TEXT, length=limit, folding=folding, apart=apart, weights=weights, native=native)
    if name in _BYTES:
        return LogicalType(Kind.BYTES, length=0 if name in _UNLIMITED else length, native=native)
    if name in ("time", "datetime", "timestamp"):
        kind = Kind.TIME if name == "time" else Kind.TIMESTAMP
        return LogicalType(kind, fraction=first, zoned=name == "timestamp", native=native)
    if name == "date":
        return LogicalType(Kind.DATE, native=native)
    if name == "uuid":
        return LogicalType(Kind.UUID, native=native)
    return LogicalType(Kind.OTHER, native=native)


def _apart(collation: str) -> frozenset[str]:
    """What a collation tells apart, by its name: `utf8mb4_bin`, `latin1_general_cs`, `utf8mb4_0900_as_ci`, …"""
    apart = set()
    if "_nopad_" in collation or "_0900_" in collation:
        apart.add(BLANKS)
    if collation.endswith(("_bin", "_cs")):
        apart.add(CASE)
    if collation.endswith("_bin") or "_as_" in collation:
        apart.add(ACCENTS)
    return frozenset(apart)


def _weights(collation: str) -> str:
    """`utf8 unicode 520` of `utf8mb4_unicode_520_nopad_ci`: whose letters are equal. No letter has four bytes."""
    words = collation.replace("utf8mb4", "utf8").replace("utf8mb3", "utf8").split("_")
    return " ".join(word for word in words if word not in ("nopad", "bin", "ai", "as", "ci", "cs"))


_REWRITTEN = "json of MySQL"
_LONG_NUMBER = re.compile(r"\d[\d.]{15}|\d[eE]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def rewrites(type_: LogicalType) -> bool:
    """A column whose documents the server takes apart: of a number it keeps what 64 bits hold."""
    return type_.kind is Kind.JSON and type_.native == _REWRITTEN


def check_json(text: str, column: str) -> None:
    """Raise `Rejected` for a document with a number that MySQL would make another one of.

    Whether it is a document at all, the server says.
    """
    if not _LONG_NUMBER.search(text):
        return
    for number in _JSON_NUMBER.findall(_STRING.sub('""', text)):
        exact = decimal.Decimal(number)
        if number.lstrip("-").isdigit() and -(2**63) <= exact < 2**64:
            continue
        if exact != decimal.Decimal(repr(float(number))):
            raise errors.Rejected(
                f"a number in the document has more digits than MySQL keeps of it: column {column}", kind="type"
            )


def native(type_: LogicalType, variant: Variant, *, key: bool = False) -> str:
    """The narrowest native type that holds every value of `type_`; `SpecError` when there is none."""
    match type_.kind:
        case Kind.BOOLEAN:
            return "tinyint(1)"
        case Kind.INTEGER:
            name = next(name for name, bits in _INTEGERS.items() if bits >= (type_.bits or 64))
            return f"{name} unsigned" if type_.unsigned else name
        case Kind.FLOAT:
            return "float" if type_.bits == 32 else "double"
        case Kind.DECIMAL if 0 < type_.precision <= 65 and type_.scale <= variant.most_scale:
            return f"decimal({type_.precision},{type_.scale})"
        case Kind.DECIMAL if not type_.precision:
            raise errors.SpecError(
                "a decimal without precision has no type here that holds every value; give the column one, "
                "such as `type: decimal(38,10)`"
            )
        case Kind.TEXT:
            return f"{_text(type_.length, key)} character set utf8mb4 collate {variant.exact}"
        case Kind.BYTES:
            return _bytes(type_.length, key)
        case Kind.DATE:
            return "date"
        case Kind.TIME | Kind.TIMESTAMP:
            # `timestamp` ends in 2038; a zoned value travels in UTC.
            name = "time" if type_.kind is Kind.TIME else "datetime"
            return f"{name}({min(type_.fraction, 6)})" if type_.fraction else name
        case Kind.UUID:
            return "char(36) character set ascii collate ascii_bin"
        case Kind.JSON:
            return "json"
        case Kind.OTHER if type_.native.split("(")[0] in SPATIAL | variant.more_types:
            return type_.native
    raise errors.SpecError(f"{type_} has no type here that holds every value")


SPATIAL = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
}  # fmt: skip


def _text(length: int, key: bool) -> str:
    # An index of InnoDB takes 3,072 bytes, and a character up to four of them. Without a length a key gets what leaves
    # room for three such columns.
    if key:
        if length > 768:
            raise errors.SpecError(f"a key of text({length}) cannot be indexed here: 768 characters at most")
        return f"varchar({length or 255})"
    # A row's columns share 65,535 bytes, of which blobs and texts take a dozen each.
    if 0 < length <= 255:
        return f"varchar({length})"
    if 0 < length <= 16383:
        return "text"
    return "mediumtext" if 0 < length <= 4194303 else "longtext"


def _bytes(length: int, key: bool) -> str:
    if key:
        if length > 3072:
            raise errors.SpecError(f"a key of bytes({length}) cannot be indexed here: 3,072 bytes at most")
        return f"varbinary({length or 1024})"
    if 0 < length <= 255:
        return f"varbinary({length})"
    if 0 < length <= 65535:
        return "blob"
    return "mediumblob" if 0 < length <= 16777215 else "longblob"


def event_type(column: Column, exact_collation: str) -> str:
    """An event table's column: the widest of its family, so that a wider source column cannot make a write fail."""
    type_, length = column.type, column.type.length
    match type_.kind:
        case Kind.BOOLEAN:
            return "bigint"
        case Kind.INTEGER:
            return "bigint unsigned" if type_.unsigned else "bigint"
        case Kind.DECIMAL:
            return "decimal(65,30)"
        case Kind.TEXT if 0 < length <= 3072:
            return f"varchar({max(768, length)}) character set utf8mb4 collate {exact_collation}"
        case Kind.TEXT:
            return f"longtext character set utf8mb4 collate {exact_collation}"
        case Kind.BYTES if 0 < length <= 3072:
            return f"varbinary({max(768, length)})"
        case Kind.BYTES:
            return "longblob"
        case Kind.DATE:
            return "date"
        case Kind.TIME:
            return "time(6)"
        case Kind.TIMESTAMP:
            # A `timestamp` is kept as one: turned into a datetime it would be in the writer's time zone.
            return "timestamp(6) null" if type_.zoned else "datetime(6)"
        case Kind.UUID:
            return "char(36) character set ascii collate ascii_bin"
    raise errors.SpecError(f"a column of type {column.native} cannot be part of a key: its values have no exact text")


def stored(value: float, type_: LogicalType, column: str) -> float:
    """A float as it is sent: one of 32 bits to its last digit, for the shortest text of the greatest one is beyond what
    the server takes. Raises `Rejected` for what is no number: it would make 0 of it, or fail with no column's name."""
    if not math.isfinite(value):
        raise errors.Rejected(f"a float that is no number has no place here: column {column}", kind="type")
    if type_.bits != 32:
        return value
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return value  # the server refuses it, by its column


def typed(expression: str, native_: str) -> str:
    """`expression` as a value of the native type, in its collation."""
    name, numbers = base_name(native_), modifiers(native_)
    collated = collation(native_)
    if collated:
        return f"convert({expression} using {collated[0]}) collate {collated[1]}"
    if name in _INTEGERS or name in ("bit", "year"):
        unsigned = " unsigned" in native_ or name in ("bit", "year")
        return f"cast({expression} as {'unsigned' if unsigned else 'signed'})"
    if name in ("datetime", "timestamp"):
        return f"cast({expression} as datetime({numbers[0] if numbers else 0}))"
    if name in ("decimal", "time", "date", "double", "uuid", "inet4", "inet6"):
        plain = native_.replace(" unsigned", "").replace(" zerofill", "")
        return f"cast({expression} as {plain})"
    if name == "float":
        return f"cast({expression} as double)"
    if name in _BYTES:
        return f"cast({expression} as binary)"
    return expression


def exact(expression: str) -> str:
    """Text that equals only the same text, whatever collation it comes with."""
    return f"cast(convert({expression} using utf8mb4) as binary)"


def same(left: str, right: str, type_: LogicalType) -> str:
    """A condition that is never NULL: two values of a column are the same, to the byte for text."""
    collated = collation(type_.native)
    if collated and collated[0] != "utf8mb4":
        return f"{exact(left)} <=> {exact(right)}"
    if type_.kind in (Kind.TEXT, Kind.JSON, Kind.BYTES, Kind.OTHER):
        return f"cast({left} as binary) <=> cast({right} as binary)"
    return f"{left} <=> {right}"


def differs(left: str, right: str, type_: LogicalType) -> str:
    """A condition that is never NULL: two values of a column are not the same, to the byte for text."""
    return f"not ({same(left, right, type_)})"


def canonical(expression: str, type_: LogicalType, precision: LogicalType) -> str:
    """SQL that renders a value as the text that every engine renders."""
    match type_.kind:
        case Kind.BOOLEAN | Kind.INTEGER:
            # A bit prints its bytes, a year and what is filled up with zeros print those.
            odd = base_name(type_.native) in ("bit", "year") or "zerofill" in type_.native
            return f"cast({expression}{' + 0' if odd else ''} as char)"
        case Kind.DECIMAL:
            scales = [each.scale for each in (type_, precision) if each.kind is Kind.DECIMAL and each.precision]
            scale = min([*scales, 38])
            return (
                _plain_decimal(f"cast(round({expression}, {scale}) as char)")
                if scale
                else (f"cast(round({expression}) as char)")
            )
        case Kind.TEXT:
            return f"convert({expression} using utf8mb4)"
        case Kind.UUID:
            return f"lower(cast({expression} as char))"
        case Kind.BYTES:
            return f"sha2({expression}, 256)"
        case Kind.DATE:
            return f"cast({expression} as char)"
        case Kind.TIMESTAMP:
            return f"date_format(cast({expression} as datetime({_fraction(type_, precision)})), '%Y-%m-%d %H:%i:%s.%f')"
        case Kind.TIME:
            return f"time_format(cast({expression} as time({_fraction(type_, precision)})), '%H:%i:%s.%f')"
    raise NotImplementedError(f"{type_} has no text that all engines agree on")


def _fraction(type_: LogicalType, precision: LogicalType) -> int:
    kinds = (Kind.TIME, Kind.TIMESTAMP)
    return min(each.fraction for each in (type_, precision) if each.kind in kinds)


def _plain_decimal(text: str) -> str:
    trimmed = f"trim(trailing '.' from trim(trailing '0' from {text}))"
    return f"if({trimmed} = '-0', '0', {trimmed})"


def hashed(texts: Sequence[str]) -> str:
    """SQL for the 60-bit number of `base.Dialect.hashed`."""
    parts = [f"ifnull(concat(char_length({text}), ':', {text}), '-')" for text in texts]
    joined = f"concat({', '.join(parts)})" if parts else "''"
    return f"cast(conv(substr(sha2(convert({joined} using utf8mb4), 256), 1, 15), 16, 10) as unsigned)"
