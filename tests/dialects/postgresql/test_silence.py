"""A server that does not answer any more is noticed, whatever it was asked."""

import io

import pytest

from pantograph import errors
from pantograph.dialects.base import Role
from pantograph.dialects.postgresql import silence


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(silence, "EVERY", 0.1)
    monkeypatch.setattr(silence, "WATCHMAN", silence.Watchman())


def slow(session):
    session.run("select pg_sleep(300)")


def copy(session):
    with session.using() as cursor:
        cursor.copy_expert("copy (select pg_sleep(300)) to stdout", io.StringIO())


@pytest.mark.parametrize("ask", [slow, copy])
def test_whoever_waits_too_long_is_told_and_nobody_else(source, monkeypatch, ask):
    monkeypatch.setattr("pantograph.dialects.postgresql.connections.COPIES_WITHIN", 0.5)
    silent, other = source.session(Role.SIDE), source.session(Role.SIDE)
    other.run("select 1")
    silent.raw.answers_within = 0.5
    with pytest.raises(errors.Unreachable):
        ask(silent)
    assert other.row("select 2") == (2,)
    assert source.session(Role.SIDE).row("select 3") == (3,)


@pytest.mark.parametrize("role", list(Role))
def test_the_server_ends_a_statement_before_we_give_it_up(source, role):
    session = source.session(role)
    (milliseconds,) = session.row("select setting::int from pg_settings where name = 'statement_timeout'")
    assert milliseconds / 1000 < session.raw.answers_within


def test_a_machine_that_is_gone_is_noticed_soon_unless_somebody_says_otherwise(source):
    said = source.session(Role.SIDE).raw.get_dsn_parameters()
    assert (said["keepalives_idle"], said["keepalives_interval"], said["keepalives_count"]) == ("10", "5", "3")
