"""What MariaDB's foreign keys carry on, where no trigger of the child fires, arrives like all else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pantograph.reflector import process
from tests.routes.conftest import ENGINES, Pair
from tests.routes.test_promise_capture import _command, _ours_left
from tests.support import mirrors
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]


def _up_to(most: int) -> str:
    return f"({' union all '.join(f'select {n} as seq' for n in range(1, most + 1))}) s"


SHOP = (
    "create table regions (id int primary key)",
    "create table shops (id int primary key, region int, "
    "foreign key (region) references regions (id) on delete cascade on update cascade)",
    "create table orders (shop int, no int, note varchar(20), primary key (shop, no), "
    "foreign key (shop) references shops (id) on delete cascade on update cascade)",
    "create table items (shop int, no int, line int, qty int, primary key (shop, no, line), "
    "foreign key (shop, no) references orders (shop, no) on delete cascade on update cascade)",
    "create table people (id int primary key, boss int, shop int, "
    "foreign key (boss) references people (id) on delete cascade, "
    "foreign key (shop) references shops (id) on delete set null on update set null)",
    "insert into regions values (1), (2), (3)",
    f"insert into shops select r.id * 10 + seq, r.id from regions r join {_up_to(3)}",
    f"insert into orders select shops.id, seq, 'new' from shops join {_up_to(5)}",
    f"insert into items select shop, no, seq, 1 from orders join {_up_to(4)}",
    "insert into people values (1, null, 11), (2, 1, 12), (3, 2, 21), (4, 3, 22), (5, 4, 31), (6, null, 32)",
)
# Not the regions: what goes on at the top of the family is seen by no capture of its own.
CAPTURED = {
    "shops": ("id", "region"),
    "orders": ("shop", "no", "note"),
    "items": ("shop", "no", "line", "qty"),
    "people": ("id", "boss", "shop"),
}


@pytest.mark.parametrize("source", ["mysql", "mariadb"])
@pytest.mark.parametrize("engine", ENGINES)
def test_families_that_are_deleted_renamed_and_let_go_are_equal_afterwards(
    make_pair: MakePair, engine: str, source: str
) -> None:
    pair = make_pair(source, engine)
    pair.make(*SHOP)
    mirror = pair.start(*CAPTURED)
    wait_until(lambda: mirrors.in_step(pair.destination) == len(CAPTURED), "in their stream")
    pair.wait_equal(**CAPTURED)
    for change in (
        "delete from regions where id = 1",  # four levels at once
        "update shops set id = 99 where id = 21",  # two levels of keys, and people let go
        "update orders set no = 50 where shop = 22 and no = 1",
        "delete from shops where id = 31",
        "delete from people where id = 2",  # all below, one by one
        "update regions set id = 7 where id = 3",
        "replace into regions values (2)",
    ):
        pair.make(change)
        pair.wait_equal(**CAPTURED)
    with pair.app.transaction():
        pair.make("insert into regions values (4)", "insert into shops values (41, 4)")
        pair.make("insert into orders values (41, 1, 'n')", "insert into items values (41, 1, 1, 1)")
        pair.make("update shops set id = 42 where id = 41", "delete from regions where id = 7")
    pair.wait_equal(**CAPTURED)
    assert not [message for message in mirror.messages if "Drift" in message]
    assert all(mirror.seen(f"t{n}").phase == "Streaming" for n in range(len(CAPTURED)))


def test_a_foreign_key_that_comes_later_is_noticed_and_what_it_took_meanwhile_is_answered(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair("mariadb", "sqlite")
    pair.make(*SHOP[:2], "alter table shops drop foreign key shops_ibfk_1", SHOP[2], *SHOP[5:8])
    mirror = pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.make("alter table shops add foreign key (region) references regions (id) on delete cascade")
    pair.make("delete from regions where id = 1")
    pair.wait_equal(orders=CAPTURED["orders"])
    mirror.wait_said("the trigger for delete on regions")
    triggers = "select count(*) from information_schema.triggers where trigger_schema = database() and {}"
    on_regions = triggers.format("event_object_table = 'regions'")
    wait_until(lambda: pair.source.execute(on_regions, role="superuser") == [(1,)], "the trigger is there")
    pair.make("delete from regions where id = 2")
    pair.wait_equal(orders=CAPTURED["orders"])
    pair.make("alter table shops drop foreign key shops_ibfk_1")
    wait_until(lambda: pair.source.execute(on_regions, role="superuser") == [(0,)], "and gone when nobody needs it")


def test_the_plan_shows_them_and_removing_takes_them_all(make_pair: MakePair) -> None:
    pair = make_pair("mariadb", "sqlite")
    pair.make(*SHOP)
    pair.documents = mirrors.documents(pair.source, pair.destination, ["items"])
    planned = _command(pair, "plan")
    assert planned.returncode == 3, planned.stderr
    for table in ("regions", "shops", "orders"):
        assert f"locks {table} for a moment" in planned.stdout
        assert f"before delete on `{pair.source.name}`.`{table}` for each row" in planned.stdout
    pair.start()
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.stop()
    assert _command(pair, "plan").returncode == 0
    done = _command(pair, "remove", "--yes")
    assert done.returncode == 0, done.stderr
    assert _ours_left(pair) == []
    pair.make("delete from regions")
