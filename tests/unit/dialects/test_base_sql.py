"""SQL that engines share: the user's text stands where it sees the table's own names only, and is left as it is."""

import pytest

from pantograph.dialects.base import Address, Dialect, Role, verbatim
from pantograph.dialects.sqlite import SQLite
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind, LogicalType

INTEGER = LogicalType(Kind.INTEGER, bits=64)


class Plain(SQLite):
    """What base.py renders; the methods that SQLite renders for itself are base's again."""

    changes = Dialect.changes
    chunk = Dialect.chunk
    chunk_end = Dialect.chunk_end
    given_keys = Dialect.given_keys
    typed = Dialect.typed
    begins = Dialect.begins
    in_transaction = Dialect.in_transaction


@pytest.fixture
def dialect():
    return Plain(Address("sqlite", path="x"))


def _mirror(*, keys=1, where=""):
    capture = Capture("abc", "", "t", tuple(f"k{i}" for i in range(keys)), tuple(f"k{i}" for i in range(keys)), "ev")
    columns = [Mapped(f"k{i}", f'"k{i}"', INTEGER, "bigint", INTEGER, "bigint") for i in range(keys)]
    columns.append(Mapped("total", "price * qty", INTEGER, "bigint", INTEGER, "bigint"))
    return Mirror("a/b", "m", "s", capture, ("s", "t"), ("d", "c"), tuple(columns), where)


def test_rows_are_looked_up_by_key_and_absent_ones_keep_it(dialect):
    assert dialect.changes(_mirror(), "select 5 as k0") == (
        "select case when r.p is null then 0 else 1 end as present, coalesce(r.j0, e.k0) as c0, r.c1 as c1 "
        'from (select 5 as k0) e left join (select 1 as p, "k0" as j0, price * qty as c1 from "s"."t") r on r.j0 = e.k0'
    )


def test_the_filter_stands_inside_so_that_it_sees_the_tables_names_only(dialect):
    sql = dialect.changes(_mirror(where="p > 1 or e = 2"), "select 5 as k0")
    assert 'from "s"."t" where (p > 1 or e = 2)) r on' in sql


def test_rows_beyond_a_first_copys_cursor_count_as_absent(dialect):
    sql = dialect.changes(_mirror(keys=2, where="x"), "select 1 as k0, 2 as k1", upto=True)
    assert '("k0", "k1") <= (cast(:b0 as bigint), cast(:b1 as bigint))' in sql


def test_a_chunks_end_is_found_by_the_key_alone(dialect):
    sql = dialect.chunk_end(_mirror(where="never"), after=True)
    assert "never" not in sql
    assert sql.endswith('where "k0" > cast(:a0 as bigint) order by "k0" limit 1 offset :skip')
    assert "where" not in dialect.chunk_end(_mirror(), after=False)


def test_a_chunk_lies_between_two_keys(dialect):
    sql = dialect.chunk(_mirror(where="a or b"), after=True, upto=True)
    assert sql.endswith('where (a or b) and "k0" > cast(:a0 as bigint) and "k0" <= cast(:b0 as bigint)')
    assert "where" not in dialect.chunk(_mirror(), after=False, upto=False)


def test_given_keys_are_parameters(dialect):
    sql, params = dialect.given_keys(None, _mirror(keys=2), [(1, 2), (3, 4)])
    assert sql.count("union all") == 1
    assert params == {"g0_0": 1, "g0_1": 2, "g1_0": 3, "g1_1": 4}


def test_text_of_the_user_holds_no_parameter_of_ours():
    assert verbatim("a = ':x' and b::text = :y") == r"a = '\:x' and b\:\:text = \:y"


def test_every_role_begins_alike_unless_an_engine_says_otherwise(dialect):
    assert [tuple(dialect.begins(role)) for role in Role] == [("begin",)] * len(Role)
    assert dialect.in_transaction(None)


def test_names_of_event_tables_leave_room_for_what_hangs_on_them(dialect):
    name = dialect.event_table("abc", "", "Ünï cödé " * 40)
    assert len(name) <= dialect.features.name_limit - 16
    assert name.isascii()
