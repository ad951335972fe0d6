"""A stage that a statement names several times, which MySQL refuses for a temporary table."""

import pytest

from tests.dialects.mariadb.conftest import World


@pytest.fixture
def place(mysql_db):
    made = World(mysql_db(), side="destination")
    yield made
    made.close()


@pytest.fixture
def stage(place):
    name = place.dialect.ours("stage_abc")
    place.writer.begin()
    fill(place, name, 1, 2, 3)
    yield name
    place.writer.rollback()


def fill(place, name, *numbers):
    place.writer.direct(f"drop temporary table if exists {name}")
    place.writer.direct(f"create temporary table {name} (n int primary key)")
    place.writer.direct(f"insert into {name} values {', '.join(f'({n})' for n in numbers)}")


def thrice(place, name):
    also = f"exists (select 1 from {name} c where c.n = a.n)"
    return place.writer.rows(f"select count(*) from {name} a join {name} b on a.n = b.n where {also}")


def test_a_stage_is_named_as_often_as_it_takes(place, stage):
    assert thrice(place, stage) == [(3,)]
    fill(place, stage, 1, 2, 3, 4)
    assert thrice(place, stage) == [(4,)]


def test_what_a_savepoint_took_away_is_there_again(place, stage):
    place.writer.direct("savepoint before_copies")
    assert thrice(place, stage) == [(3,)]
    place.writer.direct("rollback to savepoint before_copies")
    assert thrice(place, stage) == [(3,)]


def test_a_value_that_looks_like_a_stage_stays_as_it_is(place, stage):
    text = f"it''s {stage} and {stage}"
    (row,) = place.writer.rows(f"select '{text}', count(*) from {stage} a join {stage} b on a.n = b.n")
    assert row == (text.replace("''", "'"), 3)
