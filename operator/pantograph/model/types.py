"""Logical types: what a column can hold, whichever engine holds it.

Each dialect maps its native types to these and back (2 x 6 conversions, not 36). Between engines a value travels in its
*canonical* form, which is the form every driver can take and most engines print without our help:

========== =========================================================================================
kind       canonical Python value
========== =========================================================================================
BOOLEAN    bool
INTEGER    int
FLOAT      float
BYTES      bytes
DECIMAL    str, plain digits (`-12.50`), `NaN` where the source has one
TEXT       str
DATE       str, `YYYY-MM-DD`
TIME       str, `HH:MM:SS[.ffffff]`
TIMESTAMP  str, `YYYY-MM-DD HH:MM:SS[.ffffff]`; a zoned one is in UTC and carries no suffix
INTERVAL   str as the source prints it; only for the same dialect
UUID       str, lower case with dashes
JSON       str
OTHER      str as the source prints it; only for a column of the same native type in the same dialect
========== =========================================================================================

Text for decimals and times is on purpose: no digit is lost on the way, years that Python's `datetime` cannot hold pass,
and the fastest drivers hand text out with no conversion at all.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

CASE, ACCENTS, BLANKS = "case", "accents", "trailing blanks"
"""In what two texts may differ that a `folding` type takes for equal."""


class Kind(enum.StrEnum):
    """The family of a type."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    UUID = "uuid"
    JSON = "json"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LogicalType:
    """One column's type. A 0 means "no limit" for lengths and precisions.

    bits: width of integers (8 … 64) and floats (32, 64). length: characters of TEXT, bytes of BYTES.
    precision, scale: digits of DECIMAL. fraction: digits of a second kept by TIME and TIMESTAMP.
    folding: TEXT that takes different texts for equal (case, accents or trailing blanks). apart: which of the three it
    tells apart all the same; None where that is not known. weights: by which table of letters it folds ("ß" is "s" in
    one and "ss" in another); "" where that is not known.
    """

    kind: Kind
    bits: int = 0
    unsigned: bool = False
    length: int = 0
    precision: int = 0
    scale: int = 0
    fraction: int = 6
    zoned: bool = False
    folding: bool = False
    apart: frozenset[str] | None = None
    weights: str = ""
    native: str = ""

    def __str__(self) -> str:
        match self.kind:
            case Kind.INTEGER | Kind.FLOAT:
                return f"{'unsigned ' if self.unsigned else ''}{self.bits}-bit {self.kind}"
            case Kind.DECIMAL:
                return f"decimal({self.precision},{self.scale})" if self.precision else "decimal"
            case Kind.TEXT | Kind.BYTES:
                return f"{self.kind}({self.length})" if self.length else str(self.kind)
            case Kind.TIME:
                return f"time({self.fraction})"
            case Kind.TIMESTAMP:
                return f"timestamp({self.fraction}){' with time zone' if self.zoned else ''}"
            case Kind.OTHER:
                return self.native
        return str(self.kind)


def misfit(source: LogicalType, destination: LogicalType) -> str | None:
    """Why a column of `destination` cannot hold every value of `source`; None when it can.

    The answer is a clause for an error message ("64-bit integer does not fit 32-bit integer"). Losing precision that
    the type itself cannot keep (a timestamp's microseconds, a decimal's digits) is a misfit: nothing is rounded unless
    a manifest says so.
    """
    refusal = f"{source} does not fit {destination}"
    if Kind.OTHER in (source.kind, destination.kind):
        return None if source.native == destination.native else refusal
    if source.kind is destination.kind:
        return None if _holds(source, destination) else refusal
    loose = {
        # SQLite and MariaDB have no booleans of their own: 0 and 1 are what they hold.
        (Kind.BOOLEAN, Kind.INTEGER),
        (Kind.UUID, Kind.TEXT),
        (Kind.JSON, Kind.TEXT),
        (Kind.DATE, Kind.TEXT),
        (Kind.TIME, Kind.TEXT),
        (Kind.TIMESTAMP, Kind.TEXT),
        (Kind.DECIMAL, Kind.TEXT),
        (Kind.INTEGER, Kind.TEXT),
        (Kind.INTERVAL, Kind.TEXT),
    }
    if (source.kind, destination.kind) in loose:
        enough = {Kind.UUID: 36, Kind.DATE: 10, Kind.TIME: 15, Kind.TIMESTAMP: 26, Kind.INTEGER: 20}
        wide = destination.length == 0 or destination.length >= enough.get(source.kind, 1 << 30)
        return None if destination.kind is Kind.INTEGER or wide else refusal
    if source.kind is Kind.INTEGER and destination.kind is Kind.DECIMAL:
        digits = {8: 3, 16: 5, 32: 10, 64: 20}.get(source.bits, 20)
        room = destination.precision - destination.scale
        return None if destination.precision == 0 or room >= digits else refusal
    if source.kind is Kind.INTEGER and source.bits <= 8 and destination.kind is Kind.BOOLEAN:
        return None  # MariaDB's boolean is a tinyint(1); a 2 is refused by the destination when it comes
    return refusal


def wider(there: LogicalType, here: LogicalType) -> LogicalType | None:
    """A type that holds every value of both; None when neither of the two does, nor a decimal with room for both."""
    if misfit(there, here) is None:
        return here
    if misfit(here, there) is None:
        return there
    if there.kind is here.kind is Kind.DECIMAL and there.precision and here.precision:
        scale = max(there.scale, here.scale)
        whole = max(there.precision - there.scale, here.precision - here.scale)
        return replace(here, precision=whole + scale, scale=scale)
    return None


def _holds(source: LogicalType, destination: LogicalType) -> bool:
    match source.kind:
        case Kind.INTEGER:
            top = source.bits - (0 if source.unsigned else 1)
            room = destination.bits - (0 if destination.unsigned else 1)
            return room >= top and (source.unsigned or not destination.unsigned)
        case Kind.FLOAT:
            return destination.bits >= source.bits
        case Kind.DECIMAL:
            if destination.precision == 0:
                return True
            if source.precision == 0:
                return False
            whole = destination.precision - destination.scale >= source.precision - source.scale
            return whole and destination.scale >= source.scale
        case Kind.TEXT | Kind.BYTES:
            return destination.length == 0 or 0 < source.length <= destination.length
        case Kind.TIME | Kind.TIMESTAMP:
            return destination.fraction >= source.fraction
    return True
