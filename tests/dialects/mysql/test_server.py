"""What only a MySQL server has: its passwords, its certificates, and ways to be no source."""

import dataclasses

import pytest

from pantograph import dialects, errors
from pantograph.apply import execute
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.reconcile.actions import Action
from tests.dialects.mariadb.conftest import World
from tests.servers import MySQL


def session(database, role=Role.READER, **changes):
    address = dataclasses.replace(Address("mysql", **database.url("source")), **changes)
    return Session(dialects.load(address), role)


def cipher(opened):
    with opened.step("test"):
        name = str(opened.row("show session status like 'Ssl_cipher'")[1])
    opened.close()
    return name


def test_a_sha2_password_is_taken_with_tls_and_without(mysql_db):
    database = mysql_db()
    ((plugin,),) = database.execute(
        f"select plugin from mysql.user where user = '{database.url('source')['username']}'", role="superuser"
    )
    assert plugin == "caching_sha2_password"
    # What is cached is a fast way in: it must also go without.
    for mode, encrypted in (("disable", False), ("require", True)):
        database.execute("flush privileges", role="superuser")
        assert bool(cipher(session(database, tls_mode=mode))) == encrypted


def test_a_certificate_is_verified_by_the_authority_that_is_given(mysql_db):
    database = mysql_db()
    authority = (database.server.data / "ca.pem").read_text()
    assert cipher(session(database, tls_mode="verify-ca", tls_ca=authority))
    with pytest.raises(errors.Unreachable):  # the server's own certificate names no host
        session(database, tls_mode="verify-full", tls_ca=authority)
    with pytest.raises(errors.Unreachable):
        session(database, tls_mode="verify-ca")


def test_a_password_that_has_expired_is_a_refusal(mysql_db):
    database = mysql_db()
    name = database.url("source")["username"]
    database.execute(f"alter user '{name}'@'%' password expire", role="superuser")
    with pytest.raises(errors.Refused, match="expired"):
        session(database)


def refused(world):
    with pytest.raises(errors.Refused) as error:
        world.dialect.check(world.side, Role.READER)
    return error.value.reason


def test_a_replica_and_a_member_of_a_group_are_no_sources():
    with MySQL.start(options={"log-bin": "binlog", "log-bin-trust-function-creators": "on"}) as server:
        database = server.make_database("shop")
        database.grant("replication")
        world = World(database)
        try:
            world.dialect.check(world.side, Role.READER)
            root = database.superuser().cursor()
            root.execute("change replication source to source_host = '127.0.0.1', source_user = 'nobody'")
            assert refused(world) == "Replica"
            root.execute("reset replica all")
            world.dialect.check(world.side, Role.READER)
            root.execute("install plugin group_replication soname 'group_replication.so'")
            root.execute("set global group_replication_group_name = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'")
            assert refused(world) == "GroupReplication"
        finally:
            world.close()
            database.close()


def test_with_the_binary_log_what_lets_us_make_triggers_is_named():
    with MySQL.start(options={"log-bin": "binlog"}) as server:
        database = server.make_database("shop")
        world = World(database)
        try:
            world.run("create table items (id int primary key)")
            missing = world.dialect.missing_at_source(world.admin, [("", "items")])
            assert missing == ["set global log_bin_trust_function_creators = 1"]
            with pytest.raises(errors.Refused, match="log_bin_trust_function_creators"):
                world.capture("items")
            database.execute(missing[0], role="superuser")
            assert world.dialect.missing_at_source(world.admin, [("", "items")]) == []
            world.capture("items")
        finally:
            world.close()
            database.close()


def test_the_right_to_lock_is_named_and_without_it_a_parent_is_not_watched(mysql_db):
    database = mysql_db()
    name = database.url("source")["username"]
    database.execute(f"revoke lock tables on `{database.name}`.* from '{name}'@'%'", role="superuser")
    world = World(database)
    try:
        world.run(
            "create table a (id int primary key)",
            "create table b (id int primary key, a int, foreign key (a) references a (id) on delete cascade)",
        )
        grant = f"grant lock tables on `{database.name}`.* to '{name}'@'%'"
        assert world.dialect.missing_at_source(world.admin, [("", "b")]) == [grant]
        assert any(spot.endswith(grant) for spot in world.dialect.blind_spots(world.shape("b")))
        database.execute(grant, role="superuser")
        assert world.dialect.missing_at_source(world.admin, [("", "b")]) == []
        assert not any(": grant" in spot for spot in world.dialect.blind_spots(world.shape("b")))
    finally:
        world.close()


def test_foreign_keys_above_the_engine_are_a_blind_spot():
    with MySQL.start(options={"innodb-native-foreign-keys": "off"}) as server:
        database = server.make_database("shop")
        world = World(database)
        try:
            world.run(
                "create table a (id int primary key)",
                "create table b (id int primary key, a int, foreign key (a) references a (id) on delete cascade)",
            )
            assert any("innodb_native_foreign_keys" in spot for spot in world.dialect.blind_spots(world.shape("b")))
            assert not any("innodb_native" in spot for spot in world.dialect.blind_spots(world.shape("a")))
        finally:
            world.close()
            database.close()


def test_the_ring_of_hours_takes_a_lease_of_a_year_and_no_longer_one_than_itself(mysql_db):
    world = World(mysql_db())
    try:
        hours = world.dialect.ours("lease_hours")
        ((before,),) = world.side.rows(f"select count(*) from {hours}")
        world.dialect.lease_renewed(world.side, 365 * 86400)
        ((leased, top),) = world.side.rows(
            f"select count(*), max(hour) * 3600 - unix_timestamp() from {hours} where hour > 0"
        )
        assert 365 * 24 <= leased <= 365 * 24 + 2
        assert 365 * 86400 <= top + 3600 <= 365 * 86400 + 7200
        with pytest.raises(errors.SpecError):
            world.dialect.lease_renewed(world.side, 700 * 86400)
        assert world.side.rows(f"select count(*) from {hours}") == [(before,)]
    finally:
        world.close()


def test_who_uses_a_table_is_seen_with_the_right_to_see_locks_and_its_transaction_lives(mysql_db):
    """MySQL's DDL waits for a second at least, and whom it waits for and who waits for it is rolled back."""
    database = mysql_db()
    world = World(database)
    try:
        world.run("create table items (id int primary key, n int)", "insert into items values (1, 1)")
        assert any("1213" in sentence for sentence in world.dialect.outlook(world.side))
        database.grant("locks")
        assert world.dialect.outlook(world.side) == []
        assert world.dialect.in_the_way(world.admin, "", "items") == ""
        world.app.begin()
        world.run("select * from items")
        assert "which uses the table" in world.dialect.in_the_way(world.admin, "", "items")

        def later(_):
            world.run("update items set n = n + 1")  # it would be a deadlock, were we in its way
            world.app.commit()

        shape = world.shape("items")
        identity = names.capture_id("", "items")
        events = world.dialect.event_table(identity, "", "items")
        capture = Capture(identity, "", "items", ("id",), ("id",), events)
        waited = []
        statements = tuple(world.dialect.install(capture, shape))
        action = Action(identity, "the capture of items", statements)
        execute.run(world.admin, world.dialect, action, waiting=waited.append, sleep=lambda s: s < 1 or later(s))
        assert ["which uses the table" in words for words in waited] == [True]
        world.run("update items set n = n + 1")
        assert world.noted(capture) == [("U", 1)]
    finally:
        world.close()
