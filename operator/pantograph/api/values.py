"""Small values in manifests: durations, sizes, hours of the day, bounded numbers and texts.

Each bounds itself, so that the API server can tell what its rules cost, and says in the user's words what it wants.

A duration is a `datetime.timedelta` in Python, a size is an `int` of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
DURATION_PATTERN = r"^([0-9]{1,9}(ms|s|m|h|d))+$"
SIZE_PATTERN = r"^[0-9]{1,15}(k|M|G|Ki|Mi|Gi)?$"
HOURS_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"


def parse_duration(text: str) -> timedelta:
    """`200ms`, `7d`, `1h30m` as a timedelta; ValueError for anything else."""
    if len(text) > 32 or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("not a duration")
    parts = re.findall(r"([0-9]+)(ms|s|m|h|d)", text)
    try:
        return timedelta(milliseconds=sum(int(number) * round(_UNITS[unit] * 1000) for number, unit in parts))
    except OverflowError as error:
        raise ValueError("too long a duration") from error


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same value."""
    left, text = round(value / timedelta(milliseconds=1)), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_UNITS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: str | int) -> int:
    """`16Mi`, `64k` or plain bytes as an int of bytes; ValueError for anything else."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError("not a size")
    number = re.sub("[^0-9]", "", text)
    return int(number) * _SIZES[text[len(number) :]]


def format_size(value: int) -> str:
    """The shortest text that `parse_size` reads back as the same value."""
    for unit in ("Gi", "Mi", "Ki"):
        if value and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}"
    return str(value)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of every day, in UTC, `22:00-06:00`; from `start`, up to but not including `end`. Equal ends: all day."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read `HH:MM-HH:MM`; ValueError for anything else."""
        if not re.fullmatch(HOURS_PATTERN, text):
            raise ValueError("not hours of a day")
        start, end = (time.fromisoformat(part) for part in text.split("-"))
        return cls(start, end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def __contains__(self, moment: time) -> bool:
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def in_words(what: str, schema: CoreSchema) -> CoreSchema:
    """The schema, with every way to be wrong becoming one error that says in the user's words what must be there."""
    # The words travel in the context: as a message they would be a template, and a brace in them expanded.
    return core_schema.custom_error_schema(
        schema,
        "expects",
        custom_error_message="expected something else",
        custom_error_context={"what": what},
        serialization=schema.get("serialization"),
    )


class Worded:
    """Metadata of a field: how a manifest's value is read and written, its JSON schema, and its words in messages."""

    what: str
    shown: bool = True
    """Whether a message may repeat the value that was found. Not where users are known to write secrets."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return in_words(self.what, self._core())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self._json())

    def _core(self) -> CoreSchema:
        """How the value is read from a manifest, and written."""
        raise NotImplementedError

    def _json(self) -> JsonSchemaValue:
        """The field's schema in the CRD."""
        raise NotImplementedError


def _read_and_written(read: Callable[[Any], Any], write: Callable[[Any], str]) -> CoreSchema:
    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(write, when_used="json")
    )


@dataclass(frozen=True)
class Duration(Worded):
    """The field holds a duration, between two others; a timedelta in Python."""

    least: str
    most: str

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "what", f"a duration such as 200ms, 30s, 5m, 24h or 7d, from {self.least} to {self.most}"
        )

    def _core(self) -> CoreSchema:
        least, most = parse_duration(self.least), parse_duration(self.most)

        def read(value: Any) -> timedelta:
            found = parse_duration(value) if isinstance(value, str) else value
            if not isinstance(found, timedelta) or not least <= found <= most:
                raise ValueError("not such a duration")
            return found

        return _read_and_written(read, format_duration)

    def _json(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32}


@dataclass(frozen=True)
class Size(Worded):
    """The field holds a number of bytes, between two others; an int in Python."""

    least: str
    most: str

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "what", f"a size such as 16Mi, or a whole number of bytes, from {self.least} to {self.most}"
        )

    def _core(self) -> CoreSchema:
        least, most = parse_size(self.least), parse_size(self.most)

        def read(value: Any) -> int:
            if not isinstance(value, (str, int)) or not least <= parse_size(value) <= most:
                raise ValueError("not such a size")
            return parse_size(value)

        return _read_and_written(read, format_size)

    def _json(self) -> JsonSchemaValue:
        return {"x-kubernetes-int-or-string": True, "pattern": SIZE_PATTERN, "maxLength": 20}


@dataclass(frozen=True)
class DailyHours(Worded):
    """The field holds hours of every day."""

    what: str = 'hours of every day in UTC such as "22:00-06:00"'

    def _core(self) -> CoreSchema:
        def read(value: Any) -> Hours:
            if isinstance(value, Hours):
                return value
            if not isinstance(value, str):
                raise ValueError("not hours of a day")  # pydantic wants a ValueError
            return Hours.parse(value)

        return _read_and_written(read, str)

    def _json(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": HOURS_PATTERN, "maxLength": 11}


@dataclass(frozen=True)
class Whole(Worded):
    """The field holds a whole number, between two others."""

    least: int
    most: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", f"a whole number from {self.least} to {self.most}")

    def _core(self) -> CoreSchema:
        return core_schema.int_schema(ge=self.least, le=self.most, strict=True)

    def _json(self) -> JsonSchemaValue:
        wide = {"format": "int64"} if self.most > 2**31 - 1 else {}
        return {"type": "integer", "minimum": self.least, "maximum": self.most} | wide


@dataclass(frozen=True)
class Text(Worded):
    """The field holds a text of a bounded length; `what` is its name in messages: `a column name`."""

    what: str
    most: int = 128
    least: int = 1
    pattern: str | None = None
    shown: bool = True

    def _core(self) -> CoreSchema:
        return core_schema.str_schema(min_length=self.least, max_length=self.most, pattern=self.pattern, strict=True)

    def _json(self) -> JsonSchemaValue:
        bounds: JsonSchemaValue = {"type": "string", "maxLength": self.most}
        if self.least:
            bounds["minLength"] = self.least
        return bounds | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True)
class NumberOrText(Worded):
    """The field holds a text or a whole number, as it stands."""

    what: str = "a text or a whole number"
    shown: bool = False

    def _core(self) -> CoreSchema:
        return core_schema.union_schema([core_schema.int_schema(strict=True), core_schema.str_schema(max_length=4096)])

    def _json(self) -> JsonSchemaValue:
        return {"x-kubernetes-int-or-string": True, "maxLength": 4096}


@dataclass(frozen=True)
class Free(Worded):
    """The field holds an object that Kubernetes defines; it is handed on as it is."""

    what: str = "a mapping"
    shown: bool = False

    def _core(self) -> CoreSchema:
        return core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema())

    def _json(self) -> JsonSchemaValue:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


# No engine has longer names than 128 characters, and none can hold a zero byte in one.
NO_ZERO_BYTE = r"^[^\x00]+$"
ColumnName = Annotated[str, Text("a column name (string)", pattern=NO_ZERO_BYTE)]
TableName = Annotated[str, Text("a table name (string)", pattern=NO_ZERO_BYTE)]
SchemaName = Annotated[str, Text("a schema name (string)", pattern=NO_ZERO_BYTE)]
SecretKey = Annotated[
    str, Text("a key of a Secret (letters, digits, '-', '_' and '.')", most=253, pattern=r"^[-._a-zA-Z0-9]+$")
]
IntOrText = Annotated[int | str, NumberOrText()]
# What Kubernetes defines and only Kubernetes reads: taken as it is and handed on.
Object = Annotated[dict[str, Any], Free()]

DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ObjectName = Annotated[
    str, Text("the name of an object (lower-case letters, digits, '-' and '.', 253 at most)", 253, pattern=DNS_NAME)
]
Namespace = Annotated[str, Text("a namespace (lower-case letters, digits and '-', 63 at most)", 63, pattern=DNS_LABEL)]
