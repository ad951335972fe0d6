"""One column of every type that an engine has, with the values at its edges: literals of that engine's own SQL, and the
text that another engine must print for them. Nothing here is computed, least of all by the package.

A value is a pair: the literal at the source, and what the destination prints. The latter is one text, or a text by
destination ("" for all that are not named), and `REFUSED` where a row with it must become a dead letter that names the
column. `Column.refused` are destinations that have no type which holds every value, so that the table is refused
before anything is copied, and `Column.instead` what a manifest may say there: SQL of the source, a type, and what then
arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REFUSED = "refused"
Printed = str | Mapping[str, str]
Value = tuple[str, Printed]

MYSQLS = ("mysql", "mariadb")


def but(text: str, **others: str) -> dict[str, str]:
    """The same at every destination, but for some; `mysqls` are both of that family."""
    family = others.pop("mysqls", None)
    if family is not None:
        others = {**dict.fromkeys(MYSQLS, family), **others}
    return {"": text, **others}


def only(text: str, *engines: str) -> dict[str, str]:
    """Held by these, and refused by all others."""
    return {"": REFUSED, **dict.fromkeys(engines, text)}


@dataclass(frozen=True)
class Instead:
    """What a manifest says where a type is refused: SQL of the source, the type there, and what becomes of each value
    of the column in turn."""

    expression: str
    type: str
    printed: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """kind: how a destination is asked for the text, see `tests.routes.test_types`. given: False where the database
    makes the values, which stand there in the order of the rows."""

    name: str
    native: str
    kind: str
    values: Sequence[Value]
    refused: tuple[str, ...] = ()
    instead: Mapping[str, Instead] = field(default_factory=dict)
    given: bool = True

    def printed(self, index: int, destination: str) -> str | None:
        """What the destination prints of a value; None where there is none (NULL)."""
        if index >= len(self.values):
            return None
        text = self.values[index][1]
        if isinstance(text, str):
            return text
        return text.get(destination, text[""])


ALL_BYTES = "".join(f"{n:02x}" for n in range(256))
TRUE, FALSE = (
    {"": text, "postgresql": text_of_pg, "firebird": text_of_pg.upper()}
    for text, text_of_pg in (("1", "true"), ("0", "false"))
)
NUMBERS = [("", str(n)) for n in range(1, 30)]
NEGATIVE_ZERO = but("-0.0", sqlite="0.0", mariadb="0.0")
"""Two engines store zero without a sign."""
FOREIGN_TO_PG = ("mysql", "mariadb", "sqlite", "firebird", "mssql")
NO_LIMITS = ("mysql", "mariadb", "firebird", "mssql")
"""Engines whose decimals all have a precision."""
SHORT_SECONDS = ("firebird",)
"""Engines that keep four digits of a second."""
NOT_MYSQL = ("postgresql", "sqlite", "firebird", "mssql")
SHORT_DECIMALS = ("firebird", "mssql")
"""Engines whose decimals have 38 digits at most, or fewer."""
SHORT_DAYS = {"firebird": REFUSED, "mssql": REFUSED}
"""Engines whose times of day end before 24:00."""

POSTGRESQL = [
    Column("i2", "smallint", "number", [("-32768", "-32768"), ("32767", "32767"), ("0", "0")]),
    Column("i4", "integer", "number", [("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    Column(
        "i8",
        "bigint",
        "number",
        [("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
    ),
    Column(
        "d15",
        "numeric(15,4)",
        "number",
        [
            ("-99999999999.9999", "-99999999999.9999"),
            ("0.0001", "0.0001"),
            ("1.5", but("1.5000", sqlite="1.5")),
            ("0", but("0.0000", sqlite="0")),
            ("'NaN'", {**only("NaN", "postgresql", "sqlite")}),
        ],
    ),
    Column(
        "d18",
        "numeric(18,6)",
        "number",
        [
            ("999999999999.999999", "999999999999.999999"),
            ("-999999999999.999999", "-999999999999.999999"),
            ("-0.000001", "-0.000001"),
        ],
    ),
    Column(
        "d15of15",
        "numeric(15,15)",
        "number",
        [
            ("0.999999999999999", "0.999999999999999"),
            ("-0.000000000000001", but("-0.000000000000001", sqlite="-1.0e-15")),
        ],
    ),
    Column(
        "d38",
        "numeric(38,10)",
        "number",
        [
            ("9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
            ("-0.0000000001", "-0.0000000001"),
        ],
        refused=("firebird",),
        instead={
            "firebird": Instead("round(d38 / 10000000000000000000000, 4)", "numeric(18,4)", ("1000000.0000", "0.0000"))
        },
    ),
    Column(
        "d65",
        "numeric(65,30)",
        "number",
        [
            (
                "99999999999999999999999999999999999.999999999999999999999999999999",
                "99999999999999999999999999999999999.999999999999999999999999999999",
            )
        ],
        refused=SHORT_DECIMALS,
    ),
    Column(
        "d100",
        "numeric(100,50)",
        "number",
        [
            (
                "12345678901234567890123456789012345678901234567890.12345678901234567890123456789012345678901234567890",
                "12345678901234567890123456789012345678901234567890.12345678901234567890123456789012345678901234567890",
            )
        ],
        refused=NO_LIMITS,
    ),
    Column(
        "dn",
        "numeric",
        "number",
        [
            ("12345.678901234567890123456789012345678905", "12345.678901234567890123456789012345678905"),
            ("-2.00000000005", "-2.00000000005"),
            ("7", "7"),
        ],
        refused=NO_LIMITS,
        # Half of the last digit goes away from zero, as PostgreSQL rounds.
        instead={
            **dict.fromkeys(
                (*MYSQLS, "mssql"),
                Instead("dn", "decimal(38,10)", ("12345.6789012346", "-2.0000000001", "7.0000000000")),
            ),
            "firebird": Instead("dn", "numeric(18,10)", ("12345.6789012346", "-2.0000000001", "7.0000000000")),
        },
    ),
    Column(
        "dodd",
        "numeric",
        "number",
        [("'NaN'", "NaN"), ("'Infinity'", "Infinity"), ("'-Infinity'", "-Infinity")],
        refused=NO_LIMITS,
    ),
    Column("dneg", "numeric(2,-3)", "number", [("99000", "99000"), ("-1000", "-1000")]),
    Column(
        "r",
        "real",
        "real",
        [
            ("0.1", "0.1"),
            ("3.4028235e38", "3.4028235e+38"),
            ("-1.17549435e-38", "-1.1754944e-38"),
            ("1e-45", "1e-45"),
            ("'-0'", NEGATIVE_ZERO),
            ("'NaN'", only("nan", "postgresql", "firebird")),
            ("'Infinity'", only("inf", "postgresql", "sqlite", "firebird")),
            ("'-Infinity'", only("-inf", "postgresql", "sqlite", "firebird")),
        ],
    ),
    Column(
        "f",
        "double precision",
        "float",
        [
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("-2.2250738585072014e-308", "-2.2250738585072014e-308"),
            ("5e-324", "5e-324"),
            ("'-0'", NEGATIVE_ZERO),
            ("9007199254740993", "9007199254740992.0"),
            ("'NaN'", only("nan", "postgresql", "firebird")),
            ("'Infinity'", only("inf", "postgresql", "sqlite", "firebird")),
            ("'-Infinity'", only("-inf", "postgresql", "sqlite", "firebird")),
        ],
    ),
    Column("b", "boolean", "bool", [("true", TRUE), ("false", FALSE)]),
    Column(
        "t",
        "text",
        "text",
        [
            ("''", ""),
            ("' '", " "),
            ("'  x  '", "  x  "),
            (r"E'a\r\nb\tc\n'", "a\r\nb\tc\n"),
            (r"'\N \t \\ %s :x ?'", r"\N \t \\ %s :x ?"),
            ("'it''s \"q\" `b`'", 'it\'s "q" `b`'),
            ("'🦉 é e\u0301 \u202eabc ﬁ ẞ'", "🦉 é e\u0301 \u202eabc ﬁ ẞ"),
            (r"E'\x01\x08\x1a\x1b\x7f'", "\x01\x08\x1a\x1b\x7f"),
            ("repeat('é🦉', 5000)", "é🦉" * 5000),
            ("'NULL'", "NULL"),
        ],
    ),
    Column(
        "v",
        "varchar(20)",
        "text",
        [("''", ""), ("'🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉'", "🦉" * 20), ("'x '", "x ")],
    ),
    Column("c", "char(5)", "text", [("'ab'", "ab   "), ("'12345'", "12345"), ("''", "     ")]),
    Column("tc", 'text collate "C"', "text", [("'ß'", "ß"), ("'ss'", "ss")]),
    Column("nm", "name", "text", [("'x'", "x")]),
    Column(
        "y",
        "bytea",
        "bytes",
        [
            ("''", ""),
            (f"'\\x{ALL_BYTES}'", ALL_BYTES),
            ("'\\x00'", "00"),
            ("'\\x612000'", "612000"),
            ("'\\x5c4e'", "5c4e"),
        ],
    ),
    Column(
        "da",
        "date",
        "moment",
        [
            ("'0001-01-01'", "0001-01-01"),
            ("'9999-12-31'", "9999-12-31"),
            ("'2024-02-29'", "2024-02-29"),
            ("'1582-10-10'", "1582-10-10"),
            ("'0044-03-15 BC'", only("0044-03-15 BC", "postgresql")),
            ("'infinity'", only("infinity", "postgresql")),
            ("'-infinity'", only("-infinity", "postgresql")),
            ("'10000-01-01'", only("10000-01-01", "postgresql", "sqlite")),
            ("'5874897-12-31'", only("5874897-12-31", "postgresql")),
        ],
    ),
    Column(
        "ti",
        "time",
        "moment",
        [
            ("'00:00'", "00:00:00"),
            ("'23:59:59.999999'", "23:59:59.999999"),
            ("'12:34:56.000001'", "12:34:56.000001"),
            ("'24:00'", but("24:00:00", mssql=REFUSED)),
        ],
        refused=SHORT_SECONDS,
        instead={
            "firebird": Instead(
                "case when ti > '23:59:59.9999' then time '23:59:59.9999' else ti end",
                "time",
                ("00:00:00", "23:59:59.9999", "12:34:56", "23:59:59.9999"),
            )
        },
    ),
    Column(
        "ti4",
        "time(4)",
        "moment",
        [("'00:00'", "00:00:00"), ("'23:59:59.9999'", "23:59:59.9999"), ("'24:00'", but("24:00:00", **SHORT_DAYS))],
    ),
    Column("tiz", "time with time zone", "other", [("'12:34:56.5+02'", "12:34:56.5+02")], refused=FOREIGN_TO_PG),
    Column(
        "ts",
        "timestamp",
        "moment",
        [
            ("'0001-01-01'", "0001-01-01 00:00:00"),
            ("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
            ("'1969-12-31 23:59:59.000001'", "1969-12-31 23:59:59.000001"),
            ("'0044-03-15 12:00 BC'", only("0044-03-15 12:00:00 BC", "postgresql")),
            ("'infinity'", only("infinity", "postgresql")),
            ("'-infinity'", only("-infinity", "postgresql")),
            ("'294276-12-31 23:59:59'", only("294276-12-31 23:59:59", "postgresql", "sqlite")),
        ],
        refused=SHORT_SECONDS,
    ),
    Column(
        "tsr",
        "timestamp",
        "moment",
        [
            ("'2024-02-29 23:59:59.99995'", "2024-02-29 23:59:59.99995"),
            ("'2024-02-29 12:00:00.123449'", "2024-02-29 12:00:00.123449"),
        ],
        refused=SHORT_SECONDS,
        instead={"firebird": Instead("tsr", "timestamp", ("2024-03-01 00:00:00", "2024-02-29 12:00:00.1234"))},
    ),
    Column(
        "ts4",
        "timestamp(4)",
        "moment",
        [
            ("'0001-01-01 00:00:00.0001'", "0001-01-01 00:00:00.0001"),
            ("'9999-12-31 23:59:59.9999'", "9999-12-31 23:59:59.9999"),
            ("'infinity'", only("infinity", "postgresql")),
            ("'0044-03-15 12:00 BC'", only("0044-03-15 12:00:00 BC", "postgresql")),
        ],
    ),
    Column(
        "tz",
        "timestamptz",
        "zoned",
        [
            ("'2024-07-01 12:00:00+02'", "2024-07-01 10:00:00"),
            ("'1969-12-31 23:59:59.5+00'", "1969-12-31 23:59:59.5"),
            ("'infinity'", only("infinity", "postgresql")),
            ("'0044-03-15 12:00+00 BC'", only("0044-03-15 12:00:00 BC", "postgresql")),
        ],
        refused=SHORT_SECONDS,
    ),
    Column("tz4", "timestamptz(4)", "zoned", [("'2024-07-01 12:00:00.0001+02'", "2024-07-01 10:00:00.0001")]),
    Column(
        "iv",
        "interval",
        "other",
        [
            ("'1 year 2 mons 3 days 04:05:06.789'", "1 year 2 mons 3 days 04:05:06.789"),
            ("'-1 us'", "-00:00:00.000001"),
            ("'-178000000 years'", "-178000000 years"),
        ],
        refused=NO_LIMITS,
        instead=dict.fromkeys(
            NO_LIMITS,
            Instead(
                "cast(iv as text)",
                "varchar(60)",
                ("1 year 2 mons 3 days 04:05:06.789", "-00:00:00.000001", "-178000000 years"),
            ),
        ),
    ),
    Column(
        "u",
        "uuid",
        "uuid",
        [
            ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
        ],
    ),
    Column(
        "j",
        "json",
        "json",
        [
            (
                '\'{"b": 1.50,  "a": [null, true, "\\u00e9🦉"]}\'',
                but('{"b": 1.50,  "a": [null, true, "\\u00e9🦉"]}', mysql='{"a": [null, true, "é🦉"], "b": 1.5}'),
            ),
            ("'\"text\"'", '"text"'),
            ("'null'", "null"),
            ("'12345678901234567'", "12345678901234567"),
            ("'[12345678901234567890123]'", but("[12345678901234567890123]", mysql=REFUSED)),
            ("'[0.12345678901234567890]'", but("[0.12345678901234567890]", mysql=REFUSED)),
            ("'1e400'", but("1e400", mysql=REFUSED)),
        ],
    ),
    Column(
        "jb",
        "jsonb",
        "json",
        [
            ('\'{"b":2,"a":[1.50,1e2]}\'', but('{"a": [1.50, 100], "b": 2}', mysql='{"a": [1.5, 100], "b": 2}')),
            ("'{}'", "{}"),
        ],
    ),
    Column(
        "a",
        "integer[]",
        "other",
        [("'{1,NULL,3}'", "{1,NULL,3}"), ("'{}'", "{}")],
        refused=FOREIGN_TO_PG,
        instead=dict.fromkeys(FOREIGN_TO_PG, Instead("cast(a as text)", "varchar(60)", ("{1,NULL,3}", "{}"))),
    ),
    Column(
        "ta",
        "text[]",
        "other",
        [("array['a,b', 'it''s', null, '\"']", '{"a,b",it\'s,NULL,"\\""}')],
        refused=FOREIGN_TO_PG,
    ),
    Column(
        "e",
        "mood",
        "other",
        [("'sad'", "sad"), ("'it''s ok'", "it's ok")],
        refused=FOREIGN_TO_PG,
        instead=dict.fromkeys(FOREIGN_TO_PG, Instead("cast(e as text)", "varchar(60)", ("sad", "it's ok"))),
    ),
    Column("ip", "inet", "other", [("'10.0.0.1/8'", "10.0.0.1/8")], refused=FOREIGN_TO_PG),
    Column("x", "xml", "other", [("'<a>&amp;</a>'", "<a>&amp;</a>")], refused=FOREIGN_TO_PG),
    Column("mo", "money", "other", [("'-12.34'", "-$12.34")], refused=FOREIGN_TO_PG),
    Column("bi", "bit(3)", "other", [("B'101'", "101")], refused=FOREIGN_TO_PG),
    Column("rg", "int4range", "other", [("'[1,5)'", "[1,5)")], refused=FOREIGN_TO_PG),
    Column(
        "g",
        "integer generated always as (i2 + 1) stored",
        "number",
        [("", "-32767"), ("", "32768"), ("", "1")],
        given=False,
    ),
    Column("n", "bigint generated always as identity", "number", NUMBERS, given=False),
]

FAMILY = [
    Column("i1", "tinyint", "number", [("-128", "-128"), ("127", "127")]),
    Column("u1", "tinyint unsigned", "number", [("0", "0"), ("255", "255")]),
    Column("i2", "smallint", "number", [("-32768", "-32768"), ("32767", "32767")]),
    Column("u2", "smallint unsigned", "number", [("0", "0"), ("65535", "65535")]),
    Column("i3", "mediumint", "number", [("-8388608", "-8388608"), ("8388607", "8388607")]),
    Column("u3", "mediumint unsigned", "number", [("0", "0"), ("16777215", "16777215")]),
    Column("i4", "int", "number", [("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    Column("u4", "int unsigned", "number", [("0", "0"), ("4294967295", "4294967295")]),
    Column(
        "i8",
        "bigint",
        "number",
        [("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
    ),
    Column(
        "u8",
        "bigint unsigned",
        "number",
        [("0", "0"), ("18446744073709551615", "18446744073709551615")],
        refused=("firebird",),
        instead={"firebird": Instead("cast(u8 as char)", "varchar(20)", ("0", "18446744073709551615"))},
    ),
    Column(
        "b",
        "boolean",
        "bool",
        [("true", TRUE), ("false", FALSE), ("2", only("2", *MYSQLS)), ("-1", only("-1", *MYSQLS))],
    ),
    Column("b1", "bit(1)", "bit", [("b'1'", TRUE), ("b'0'", FALSE)]),
    Column("b17", "bit(17)", "bit", [("b'11111111111111111'", "131071"), ("0", "0")], refused=("firebird",)),
    Column(
        "b64", "bit(64)", "bit", [("18446744073709551615", "18446744073709551615"), ("1", "1")], refused=("firebird",)
    ),
    Column(
        "d18",
        "decimal(18,6)",
        "number",
        [("999999999999.999999", "999999999999.999999"), ("-0.000001", "-0.000001")],
    ),
    Column(
        "d65",
        "decimal(65,30)",
        "number",
        [
            (
                "99999999999999999999999999999999999.999999999999999999999999999999",
                "99999999999999999999999999999999999.999999999999999999999999999999",
            ),
            ("-0.000000000000000000000000000001", "-0.000000000000000000000000000001"),
        ],
        refused=SHORT_DECIMALS,
        instead=dict.fromkeys(SHORT_DECIMALS, Instead("round(d65 / 1e34, 4)", "numeric(18,4)", ("10.0000", "0.0000"))),
    ),
    Column("d650", "decimal(65,0)", "number", [("-" + "9" * 65, "-" + "9" * 65)], refused=SHORT_DECIMALS),
    Column("du", "decimal(12,2) unsigned", "number", [("9999999999.99", "9999999999.99")]),
    Column(
        "r",
        "float",
        "real",
        [
            ("0.1", "0.1"),
            ("3.40282346e38", "3.4028235e+38"),
            ("-1.17549435e-38", "-1.1754944e-38"),
            ("16777215", "16777215.0"),
            ("1e-45", "1e-45"),
        ],
    ),
    Column(
        "f",
        "double",
        "float",
        [
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("9007199254740993", "9007199254740992.0"),
        ],
    ),
    Column(
        "t",
        "text character set utf8mb4 collate utf8mb4_bin",
        "text",
        [
            ("''", ""),
            ("' '", " "),
            ("'  x  '", "  x  "),
            (r"'a\r\nb\tc\n'", "a\r\nb\tc\n"),
            (r"'\\N \\t \\\\ %s :x ?'", r"\N \t \\ %s :x ?"),
            ("'it''s \"q\" `b`'", 'it\'s "q" `b`'),
            ("'🦉 é e\u0301 \u202eabc ﬁ ẞ'", "🦉 é e\u0301 \u202eabc ﬁ ẞ"),
            (r"x'01081a1b7f'", "\x01\x08\x1a\x1b\x7f"),
            ("repeat('é🦉', 5000)", "é🦉" * 5000),
            ("'NULL'", "NULL"),
            (r"'a\0b'", but("a\0b", postgresql=REFUSED)),
        ],
    ),
    Column(
        "v", "varchar(20) character set utf8mb4", "text", [("''", ""), ("repeat('🦉', 20)", "🦉" * 20), ("'x '", "x ")]
    ),
    Column("l1", "varchar(20) character set latin1", "text", [("'Ä€ß'", "Ä€ß"), ("'x '", "x ")]),
    Column("ci", "varchar(20) character set utf8mb4 collate utf8mb4_general_ci", "text", [("'Ä'", "Ä"), ("'a'", "a")]),
    Column("c", "char(5)", "text", [("'ab '", "ab"), ("'12345'", "12345"), ("''", "")]),
    Column("tt", "tinytext", "text", [("repeat('x', 255)", "x" * 255)]),
    Column("mt", "mediumtext", "text", [("repeat('x', 70000)", "x" * 70000)]),
    Column("lt", "longtext", "text", [("'l'", "l")]),
    Column("y", "varbinary(300)", "bytes", [("''", ""), (f"x'{ALL_BYTES}'", ALL_BYTES), ("x'612000'", "612000")]),
    Column("y4", "binary(4)", "bytes", [("x'00'", "00000000"), ("x'ff20ff20'", "ff20ff20")]),
    Column("bl", "blob", "bytes", [("x'00'", "00"), (f"repeat(x'{ALL_BYTES}', 100)", ALL_BYTES * 100)]),
    Column("lb", "longblob", "bytes", [("''", ""), ("x'5c4e0a0d09'", "5c4e0a0d09")]),
    Column(
        "da",
        "date",
        "moment",
        [
            ("'1000-01-01'", "1000-01-01"),
            ("'9999-12-31'", "9999-12-31"),
            ("'2024-02-29'", "2024-02-29"),
            ("'0000-00-00'", only("0000-00-00", "sqlite", *MYSQLS)),
            ("'2024-00-00'", only("2024-00-00", "sqlite", *MYSQLS)),
            ("'0001-01-01'", "0001-01-01"),
        ],
    ),
    Column(
        "ti",
        "time(4)",
        "moment",
        [
            ("'00:00'", "00:00:00"),
            ("'23:59:59.9999'", "23:59:59.9999"),
            ("'-838:59:59'", only("-838:59:59", *MYSQLS)),
            ("'838:59:59'", only("838:59:59", *MYSQLS)),
            ("'-00:00:01'", only("-00:00:01", *MYSQLS)),
            ("'24:00:00'", but("24:00:00", **SHORT_DAYS)),
        ],
    ),
    Column("ti6", "time(6)", "moment", [("'23:59:59.999999'", "23:59:59.999999")], refused=SHORT_SECONDS),
    Column(
        "ts",
        "datetime(6)",
        "moment",
        [
            ("'1000-01-01 00:00:00.000001'", "1000-01-01 00:00:00.000001"),
            ("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
        ],
        refused=SHORT_SECONDS,
        instead={"firebird": Instead("ts", "timestamp", ("1000-01-01 00:00:00", "9999-12-31 23:59:59.9999"))},
    ),
    Column(
        "ts4",
        "datetime(4)",
        "moment",
        [
            ("'1000-01-01 00:00:00.0001'", "1000-01-01 00:00:00.0001"),
            ("'9999-12-31 23:59:59.9999'", "9999-12-31 23:59:59.9999"),
            ("'0000-00-00 00:00:00'", only("0000-00-00 00:00:00", "sqlite", *MYSQLS)),
        ],
    ),
    Column("ts0", "datetime", "moment", [("'2024-02-29 23:59:59'", "2024-02-29 23:59:59")]),
    Column(
        "tz",
        "timestamp(4) null",
        "zoned",
        [
            ("'1970-01-01 00:00:01'", "1970-01-01 00:00:01"),
            ("'2038-01-19 03:14:07.9999'", "2038-01-19 03:14:07.9999"),
            ("'0000-00-00 00:00:00'", only("0000-00-00 00:00:00", "sqlite", *MYSQLS)),
        ],
    ),
    Column("s", "set('x','y','z')", "text", [("''", ""), ("'z,x'", "x,z"), ("7", "x,y,z")]),
    Column("po", "point", "point", [("point(1, -2.5)", "POINT(1 -2.5)")], refused=NOT_MYSQL),
    Column("g", "bigint as (i2 + 1) stored", "number", [("", "-32767"), ("", "32768")], given=False),
    Column("gv", "bigint as (i2 - 1) virtual", "number", [("", "-32769"), ("", "32766")], given=False),
]

MYSQL = [
    Column("z4", "int(6) zerofill", "number", [("42", but("42", mysql="000042"))]),
    Column("ye", "year", "number", [("1901", "1901"), ("2155", "2155"), ("0", but("0", mysql="0000"))]),
    # What a server that is not strict makes of a word that is none of the enum's; none that is takes it.
    Column(
        "e",
        "enum('a','it''s','ö')",
        "text",
        [("'a'", "a"), ("'it''s'", "it's"), ("3", "ö"), ("0", but("", mysql=REFUSED))],
    ),
    *(column for column in FAMILY if column.name != "po"),
    Column(
        "po",
        "point",
        "point",
        [("point(1, -2.5)", "POINT(1 -2.5)")],
        refused=(*NOT_MYSQL, "mariadb"),
    ),
    Column("fz", "double", "float", [("-0e0", NEGATIVE_ZERO)]),
    Column(
        "j",
        "json",
        "json",
        [
            ('\'{"b": 1.50,  "a": [null, true, "é🦉"]}\'', '{"a": [null, true, "é🦉"], "b": 1.5}'),
            ("'\"text\"'", '"text"'),
            ("'null'", "null"),
            ("'[18446744073709551615, 1e300]'", "[18446744073709551615, 1e300]"),
            ("cast(12345678901234567890.123 as json)", but("12345678901234567890.123", mysql=REFUSED)),
        ],
    ),
]
MARIADB = [
    Column("z4", "int(6) zerofill", "number", [("42", but("42", mariadb="000042"))]),
    Column("ye", "year", "number", [("1901", "1901"), ("2155", "2155"), ("0", but("0", mariadb="0000"))]),
    # What a server that is not strict makes of a word that is none of the enum's; none that is takes it.
    Column(
        "e",
        "enum('a','it''s','ö')",
        "text",
        [("'a'", "a"), ("'it''s'", "it's"), ("3", "ö"), ("0", but("", mariadb=REFUSED))],
    ),
    *(column for column in FAMILY if column.name != "po"),
    Column(
        "po",
        "point",
        "point",
        [("point(1, -2.5)", "POINT(1 -2.5)")],
        refused=(*NOT_MYSQL, "mysql"),
    ),
    Column("d38", "decimal(38,38)", "number", [("0." + "9" * 38, "0." + "9" * 38)], refused=("mysql", "firebird")),
    Column(
        "j",
        "json",
        "json",
        [
            (
                '\'{"b": 1.50,  "a": [null, true, "é🦉"]}\'',
                but('{"b": 1.50,  "a": [null, true, "é🦉"]}', mysql='{"a": [null, true, "é🦉"], "b": 1.5}'),
            ),
            ("'null'", "null"),
            ("'[12345678901234567890123]'", but("[12345678901234567890123]", mysql=REFUSED)),
        ],
    ),
    Column("u", "uuid", "uuid", [("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
    Column(
        "ip",
        "inet6",
        "other",
        [("'2001:db8::1'", "2001:db8::1")],
        refused=(*NOT_MYSQL, "mysql"),
    ),
]

SQLITE = [
    Column(
        "i",
        "integer",
        "number",
        [
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775807", "9223372036854775807"),
            ("'no number'", REFUSED),
            ("1.5", REFUSED),
        ],
    ),
    Column("i2", "smallint", "number", [("-32768", "-32768"), ("9223372036854775806", "9223372036854775806")]),
    Column("b", "boolean", "bool", [("1", TRUE), ("0", FALSE), ("'true'", TRUE), ("2", REFUSED)]),
    Column(
        "d15",
        "decimal(15,2)",
        "number",
        [
            ("9999999999999.99", "9999999999999.99"),
            ("-0.01", "-0.01"),
            ("7", but("7.00", sqlite="7")),
            ("1.239", REFUSED),
        ],
    ),
    Column(
        "d18",
        "decimal_text(18,6)",
        "number",
        [("'999999999999.999999'", "999999999999.999999"), ("'-0.000001'", "-0.000001"), ("'1.2345678'", REFUSED)],
    ),
    Column(
        "d65",
        "decimal_text(65,30)",
        "number",
        [
            (
                "'99999999999999999999999999999999999.999999999999999999999999999999'",
                "99999999999999999999999999999999999.999999999999999999999999999999",
            )
        ],
        refused=SHORT_DECIMALS,
    ),
    Column(
        "dn",
        "decimal_text",
        "number",
        [("'12345.678901234567890123456789'", "12345.678901234567890123456789")],
        refused=NO_LIMITS,
    ),
    Column(
        "f",
        "real",
        "float",
        [
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("-0.0", "0.0"),
            ("9e999", only("inf", "sqlite", "postgresql", "firebird")),
            ("-9e999", only("-inf", "sqlite", "postgresql", "firebird")),
        ],
    ),
    Column(
        "t",
        "text",
        "text",
        [
            ("''", ""),
            ("' '", " "),
            ("'  x  '", "  x  "),
            ("'a' || char(13, 10) || 'b' || char(9) || 'c' || char(10)", "a\r\nb\tc\n"),
            (r"'\N \t \\ %s :x'", r"\N \t \\ %s :x"),
            ("'it''s \"q\" `b`'", 'it\'s "q" `b`'),
            ("'🦉 é e\u0301 \u202eabc ﬁ ẞ'", "🦉 é e\u0301 \u202eabc ﬁ ẞ"),
            ("char(1, 8, 26, 27, 127)", "\x01\x08\x1a\x1b\x7f"),
            ("replace(hex(zeroblob(5000)), '00', 'é🦉')", "é🦉" * 5000),
            ("'NULL'", "NULL"),
            ("'007'", "007"),
            ("'1e5'", "1e5"),
            ("'a' || char(0) || 'b'", but("a\0b", postgresql=REFUSED)),
            ("x'ff'", REFUSED),
        ],
    ),
    Column("tn", "text collate nocase", "text", [("'Ä'", "Ä"), ("'a'", "a")]),
    Column(
        "v",
        "varchar(20)",
        "text",
        [
            ("''", ""),
            ("'🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉'", "🦉" * 20),
            ("'x '", "x "),
            # There is room for 20 characters of two units each.
            ("'longer than twenty characters'", only("longer than twenty characters", "sqlite", "mssql")),
            (f"'{'x' * 41}'", only("x" * 41, "sqlite")),
        ],
    ),
    Column("y", "blob", "bytes", [("x''", ""), (f"x'{ALL_BYTES}'", ALL_BYTES), ("x'612000'", "612000")]),
    Column(
        "da",
        "date",
        "moment",
        [
            ("'0001-01-01'", "0001-01-01"),
            ("'9999-12-31'", "9999-12-31"),
            ("'2024-02-30'", but(REFUSED, sqlite="2024-02-30")),
            ("20240229", REFUSED),
        ],
    ),
    Column(
        "ti",
        "time",
        "moment",
        [("'00:00:00'", "00:00:00"), ("'23:59:59.999999'", "23:59:59.999999")],
        refused=SHORT_SECONDS,
    ),
    Column(
        "ts",
        "timestamp",
        "moment",
        [
            ("'0001-01-01 00:00:00'", "0001-01-01 00:00:00"),
            ("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
            ("'2024-02-29T12:00Z'", "2024-02-29 12:00:00"),
            ("1709208000", REFUSED),
        ],
        refused=SHORT_SECONDS,
        instead={
            "firebird": Instead(
                "substr(ts, 1, 24)",
                "varchar(30)",
                ("0001-01-01 00:00:00", "9999-12-31 23:59:59.9999", "2024-02-29T12:00Z"),
            )
        },
    ),
    Column(
        "tz", "timestamptz", "zoned", [("'2024-07-01 12:00:00+02:00'", "2024-07-01 10:00:00")], refused=SHORT_SECONDS
    ),
    Column("u", "uuid", "uuid", [("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
    Column(
        "j",
        "json_text",
        "json",
        [
            ('\'{"b": 1.50,  "a": [null]}\'', but('{"b": 1.50,  "a": [null]}', mysql='{"a": [null], "b": 1.5}')),
            ("'[12345678901234567890123]'", but("[12345678901234567890123]", mysql=REFUSED)),
            ("'{no json'", only("{no json", "sqlite", "firebird", "mssql")),
        ],
    ),
    Column(
        "o", "", "text", [("'anything'", "anything")], refused=("postgresql", "mysql", "mariadb", "firebird", "mssql")
    ),
    Column(
        "g",
        "integer generated always as (i2 + 1) stored",
        "number",
        [("", "-32767"), ("", "9223372036854775807")],
        given=False,
    ),
]

FIREBIRD = [
    Column("i2", "smallint", "number", [("-32768", "-32768"), ("32767", "32767")]),
    Column("i4", "integer", "number", [("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    Column(
        "i8",
        "bigint",
        "number",
        [
            ("cast('-9223372036854775808' as bigint)", "-9223372036854775808"),
            ("9223372036854775807", "9223372036854775807"),
        ],
    ),
    Column(
        "d4",
        "numeric(4,2)",
        "number",
        [("99.99", "99.99"), ("-0.01", "-0.01"), ("327.67", only("327.67", "firebird", "sqlite"))],
    ),
    Column(
        "d9",
        "decimal(9,3)",
        "number",
        [("999999.999", "999999.999"), ("2147483.647", only("2147483.647", "firebird", "sqlite"))],
    ),
    Column(
        "d18",
        "numeric(18,6)",
        "number",
        [
            ("999999999999.999999", "999999999999.999999"),
            ("-0.000001", "-0.000001"),
            ("9223372036854.775807", only("9223372036854.775807", "firebird", "sqlite")),
        ],
    ),
    Column("d1818", "decimal(18,18)", "number", [("0.999999999999999999", "0.999999999999999999")]),
    Column(
        "r",
        "float",
        "real",
        [
            ("0.1", "0.1"),
            ("3.4028234e38", "3.4028235e+38"),
            ("-1.17549435e-38", "-1.1754944e-38"),
            ("-0e0", NEGATIVE_ZERO),
        ],
    ),
    Column(
        "f",
        "double precision",
        "float",
        [
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("1e-300", "1e-300"),
            ("-0e0", NEGATIVE_ZERO),
        ],
    ),
    Column("b", "boolean", "bool", [("true", TRUE), ("false", FALSE)]),
    Column(
        "t",
        "blob sub_type text character set utf8",
        "text",
        [
            ("''", ""),
            ("' '", " "),
            ("'  x  '", "  x  "),
            ("'a' || ascii_char(13) || ascii_char(10) || 'b' || ascii_char(9) || 'c' || ascii_char(10)", "a\r\nb\tc\n"),
            (r"'\N \t \\ %s :x'", r"\N \t \\ %s :x"),
            ("'it''s \"q\" `b`'", 'it\'s "q" `b`'),
            ("'🦉 é e\u0301 \u202eabc ﬁ ẞ'", "🦉 é e\u0301 \u202eabc ﬁ ẞ"),
            ("rpad('', 8000, 'é🦉')", "é🦉" * 4000),
            ("'NULL'", "NULL"),
            ("'a' || ascii_char(0) || 'b'", but("a\0b", postgresql=REFUSED)),
        ],
    ),
    Column(
        "v",
        "varchar(20) character set utf8",
        "text",
        [
            ("''", ""),
            ("rpad('', 20, '🦉')", "🦉" * 20),
            ("'x '", "x "),
            ("'a' || ascii_char(0) || 'b'", but("a\0b", postgresql=REFUSED)),
        ],
    ),
    Column("va", "varchar(20) character set ascii", "text", [("'a'", "a")]),
    Column("ci", "varchar(20) character set utf8 collate unicode_ci", "text", [("'Ä'", "Ä"), ("'a'", "a")]),
    Column("c", "char(5) character set utf8", "text", [("'ab'", but("ab", firebird="ab   ")), ("'12345'", "12345")]),
    Column(
        "y",
        "varchar(300) character set octets",
        "bytes",
        [("''", ""), (f"x'{ALL_BYTES}'", ALL_BYTES), ("x'612000'", "612000")],
    ),
    Column("y4", "char(4) character set octets", "bytes", [("x'00ff20ff'", "00ff20ff")]),
    Column("z", "blob sub_type binary", "bytes", [("''", ""), (f"x'{ALL_BYTES}'", ALL_BYTES), ("x'00'", "00")]),
    Column(
        "da",
        "date",
        "moment",
        [("date '0001-01-01'", "0001-01-01"), ("date '9999-12-31'", "9999-12-31"), ("date '2024-02-29'", "2024-02-29")],
    ),
    Column("ti", "time", "moment", [("time '00:00'", "00:00:00"), ("time '23:59:59.9999'", "23:59:59.9999")]),
    Column(
        "ts",
        "timestamp",
        "moment",
        [
            ("timestamp '0001-01-01 00:00:00.0001'", "0001-01-01 00:00:00.0001"),
            ("timestamp '9999-12-31 23:59:59.9999'", "9999-12-31 23:59:59.9999"),
        ],
    ),
    Column("a", "integer [3]", "other", [], refused=("postgresql", "mysql", "mariadb", "sqlite", "firebird", "mssql")),
    Column("g", "bigint computed by (i2 + 1)", "number", [("", "-32767"), ("", "32768")], given=False),
    Column("n", "integer generated by default as identity", "number", NUMBERS, given=False),
]

NOT_MSSQL = ("postgresql", "mysql", "mariadb", "sqlite", "firebird")

MSSQL = [
    Column("i1", "tinyint", "number", [("0", "0"), ("255", "255")]),
    Column("i2", "smallint", "number", [("-32768", "-32768"), ("32767", "32767")]),
    Column("i4", "int", "number", [("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    Column(
        "i8",
        "bigint",
        "number",
        [("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
    ),
    Column("b", "bit", "bool", [("1", TRUE), ("0", FALSE)]),
    Column("d15", "decimal(15,4)", "number", [("-99999999999.9999", "-99999999999.9999"), ("0.0001", "0.0001")]),
    Column(
        "d18",
        "numeric(18,6)",
        "number",
        [("999999999999.999999", "999999999999.999999"), ("-0.000001", "-0.000001")],
    ),
    Column(
        "d38",
        "decimal(38,10)",
        "number",
        [
            ("9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
            ("-0.0000000001", "-0.0000000001"),
        ],
        refused=("firebird",),
        instead={
            "firebird": Instead("round(d38 / 10000000000000000000000, 4)", "numeric(18,4)", ("1000000.0000", "0.0000"))
        },
    ),
    Column(
        "mo",
        "money",
        "number",
        [("922337203685477.5807", "922337203685477.5807"), ("-0.0001", "-0.0001")],
        refused=("firebird",),
    ),
    Column("sm", "smallmoney", "number", [("-214748.3648", "-214748.3648"), ("214748.3647", "214748.3647")]),
    Column(
        "r",
        "real",
        "real",
        [("0.1", "0.1"), ("3.4028235e38", "3.4028235e+38"), ("-1.1754944e-38", "-1.1754944e-38")],
    ),
    Column(
        "f",
        "float",
        "float",
        [
            ("0.1", "0.1"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("-2.2250738585072014e-308", "-2.2250738585072014e-308"),
            ("9007199254740993e0", "9007199254740992.0"),
        ],
    ),
    Column(
        "t",
        "nvarchar(max)",
        "text",
        [
            ("N''", ""),
            ("N' '", " "),
            ("N'  x  '", "  x  "),
            ("N'a' + nchar(13) + nchar(10) + N'b' + nchar(9) + N'c' + nchar(10)", "a\r\nb\tc\n"),
            (r"N'\N \t \\ %s :x'", r"\N \t \\ %s :x"),
            ("N'it''s \"q\" `b`'", 'it\'s "q" `b`'),
            ("N'🦉 é e\u0301 \u202eabc ﬁ ẞ'", "🦉 é e\u0301 \u202eabc ﬁ ẞ"),
            ("nchar(1) + nchar(8) + nchar(26) + nchar(27) + nchar(127)", "\x01\x08\x1a\x1b\x7f"),
            ("replicate(cast(N'é🦉' as nvarchar(max)), 5000)", "é🦉" * 5000),
            ("N'NULL'", "NULL"),
        ],
    ),
    # Twenty units, which are ten characters beyond the basic plane.
    Column("nv", "nvarchar(20)", "text", [("N''", ""), ("N'🦉🦉🦉🦉🦉🦉🦉🦉🦉🦉'", "🦉" * 10), ("N'x '", "x ")]),
    Column("v", "varchar(20)", "text", [("''", ""), ("'Äß'", "Äß"), ("'x '", "x ")]),
    Column("vm", "varchar(max)", "text", [("replicate(cast('x' as varchar(max)), 9000)", "x" * 9000)]),
    Column(
        "c",
        "char(5)",
        "text",
        [("'ab'", but("ab", mssql="ab   ")), ("'12345'", "12345"), ("''", but("", mssql="     "))],
    ),
    Column("nc", "nchar(5)", "text", [("N'é'", but("é", mssql="é    "))]),
    Column("y4", "binary(4)", "bytes", [("0x00", "00000000"), ("0xff20ff20", "ff20ff20")]),
    Column("y", "varbinary(300)", "bytes", [("0x", ""), (f"0x{ALL_BYTES}", ALL_BYTES), ("0x612000", "612000")]),
    Column("yx", "varbinary(max)", "bytes", [("0x", ""), ("0x00", "00"), (f"0x{ALL_BYTES * 40}", ALL_BYTES * 40)]),
    Column(
        "da",
        "date",
        "moment",
        [("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31"), ("'2024-02-29'", "2024-02-29")],
    ),
    Column("ti4", "time(4)", "moment", [("'00:00'", "00:00:00"), ("'23:59:59.9999'", "23:59:59.9999")]),
    Column("ti6", "time(6)", "moment", [("'23:59:59.999999'", "23:59:59.999999")], refused=SHORT_SECONDS),
    Column("ts0", "smalldatetime", "moment", [("'1900-01-01 00:00'", "1900-01-01 00:00:00")]),
    Column(
        "dt",
        "datetime",
        "moment",
        [
            ("'1753-01-01 00:00:00'", "1753-01-01 00:00:00"),
            ("'9999-12-31 23:59:59.997'", "9999-12-31 23:59:59.997"),
            ("'2024-02-29 12:00:00.003'", "2024-02-29 12:00:00.003"),
        ],
    ),
    Column(
        "ts4",
        "datetime2(4)",
        "moment",
        [
            ("'0001-01-01 00:00:00.0001'", "0001-01-01 00:00:00.0001"),
            ("'9999-12-31 23:59:59.9999'", "9999-12-31 23:59:59.9999"),
        ],
    ),
    Column(
        "ts",
        "datetime2(6)",
        "moment",
        [
            ("'0001-01-01 00:00:00.000001'", "0001-01-01 00:00:00.000001"),
            ("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
        ],
        refused=SHORT_SECONDS,
    ),
    Column(
        "tz4",
        "datetimeoffset(4)",
        "zoned",
        [
            ("'2024-07-01 12:00:00.0001 +02:00'", "2024-07-01 10:00:00.0001"),
            ("'1970-01-01 00:00:01 +00:00'", "1970-01-01 00:00:01"),
        ],
    ),
    Column(
        "tz",
        "datetimeoffset(6)",
        "zoned",
        [("'2024-07-01 12:00:00.123456 -05:30'", "2024-07-01 17:30:00.123456")],
        refused=SHORT_SECONDS,
    ),
    Column(
        "u",
        "uniqueidentifier",
        "uuid",
        [
            ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
        ],
    ),
    Column("x", "xml", "other", [("N'<a>&amp;é</a>'", "<a>&amp;é</a>")], refused=NOT_MSSQL),
    Column("g", "as (i2 + 1) persisted", "number", [("", "-32767"), ("", "32768")], given=False),
    Column("n", "bigint identity", "number", NUMBERS, given=False),
]

COLUMNS = {
    "postgresql": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MARIADB,
    "sqlite": SQLITE,
    "firebird": FIREBIRD,
    "mssql": MSSQL,
}
BEFORE = {
    "postgresql": ["create type mood as enum ('sad', 'it''s ok')"],
    # So that the application may write dates that are none.
    **{engine: ["set sql_mode = ''"] for engine in MYSQLS},
}
"""What the application says before it makes its tables."""

UUIDS = [
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
    ("'ffffffff-0000-0000-0000-00000000000e'", "ffffffff-0000-0000-0000-00000000000e"),
]
TEXTS = [
    ("'a'", "a"),
    ("'A'", "A"),
    ("''", ""),
    ("'🦉 é'", "🦉 é"),
    ("'it''s'", "it's"),
    ("' b'", " b"),
    ("'%_'", "%_"),
]
DECIMALS = [
    ("-0.000001", "-0.000001"),
    ("0.000000", "0.000000"),
    ("999999999999.999999", "999999999999.999999"),
    ("10.500000", "10.500000"),
]
BINARIES = [("x'00'", "00"), ("x'00ff'", "00ff"), ("x'20'", "20"), ("x'6120'", "6120")]
PG_BINARIES = [(literal.replace("x'", "'\\x"), text) for literal, text in BINARIES]
DATES = [("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31"), ("'2024-02-29'", "2024-02-29")]
TWO = [("1", "1"), ("1", "1"), ("2", "2")]


def _keys(
    text: str,
    uuid: str,
    decimal: str,
    binary: str,
    date: str,
    whole: str,
    decimals: Sequence[Value] = DECIMALS,
    texts: Sequence[Value] = TEXTS,
    binaries: Sequence[Value] = BINARIES,
) -> dict[str, list[Column]]:
    return {
        "by_text": [Column("k", text, "text", texts)],
        "by_uuid": [Column("k", uuid, "uuid", UUIDS)],
        "by_decimal": [Column("k", decimal, "number", decimals)],
        # Without a length they are no key everywhere.
        "by_bytes": [Column("k", binary, "bytes", PG_BINARIES, refused=NO_LIMITS)]
        if binary == "bytea"
        else [Column("k", binary, "bytes", binaries)],
        "by_several": [
            Column("k", text, "text", texts[:3]),
            Column("d", date, "moment", DATES),
            Column("w", whole, "number", TWO),
        ],
    }


KEYS = {
    "postgresql": _keys("varchar(40)", "uuid", "numeric(18,6)", "bytea", "date", "smallint"),
    "mysql": _keys(
        "varchar(40) collate utf8mb4_0900_bin", "char(36)", "decimal(18,6)", "varbinary(40)", "date", "int unsigned"
    ),
    "mariadb": _keys(
        "varchar(40) collate utf8mb4_nopad_bin", "uuid", "decimal(18,6)", "varbinary(40)", "date", "int unsigned"
    ),
    "sqlite": _keys(
        "varchar(40)",
        "uuid",
        "decimal_text(18,6)",
        "varbinary(40)",
        "date",
        "integer",
        [(f"'{literal}'", text) for literal, text in DECIMALS],
    ),
    "firebird": _keys(
        "varchar(40)",
        "char(36)",
        "numeric(18,6)",
        "varchar(40) character set octets",
        "date",
        "bigint",
    ),
    "mssql": _keys(
        "nvarchar(40) collate Latin1_General_100_BIN2",
        "uniqueidentifier",
        "decimal(18,6)",
        "varbinary(40)",
        "date",
        "int",
        texts=[(f"N{literal}", text) for literal, text in TEXTS],
        binaries=[(f"0x{text}", text) for _, text in BINARIES],
    ),
}
"""By engine and table: its key's columns."""
