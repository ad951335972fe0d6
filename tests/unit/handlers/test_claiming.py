"""How often servers are asked who writes which table."""

from __future__ import annotations

from collections.abc import Set

from pantograph.api.manifests import Key
from pantograph.apply.prepare import WantedCopy
from pantograph.apply.sources import Wanted
from pantograph.dialects.base import Address
from pantograph.handlers.claiming import Claims
from pantograph.reconcile.ownership import Claim


def wanted(name: str, *tables: str) -> Wanted:
    copies = tuple(WantedCopy(f"ns/{name}-{table}", "", f"{name}.{table}", "", table) for table in tables)
    there = {"warehouse": (Address("postgresql", host="warehouse"), copies)}
    return Wanted(f"ns/{name}", f"local/ns/{name}", Address("postgresql", host=name), (), there)


class Servers:
    """What they say: every table is one of its own name, at one destination. away: sources that do not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away: set[str] = set()

    def ask(self, one: Wanted, shared: Set[str]) -> tuple[list[Claim], bool]:
        self.asked.append(one.name)
        if one.name in self.away:
            return [], False
        return [
            Claim(copy.name, (one.name, copy.table), ("warehouse", copy.table), copy.source, copy.table)
            for _, copies in one.copies.values()
            for copy in copies
        ], True


def key(name: str) -> Key:
    return ("ns", name)


def test_each_source_is_asked_once_however_many_there_are():
    servers = Servers()
    claims = Claims(servers.ask)
    for _ in range(2):
        for number in range(100):
            assert claims.of(key(f"s{number}"), wanted(f"s{number}", f"t{number}")) == ({}, set())
    assert len(servers.asked) == 100


def test_a_conflict_is_told_to_both_and_ends_with_one_of_them():
    servers = Servers()
    claims = Claims(servers.ask)
    claims.of(key("a"), wanted("a", "orders"))
    found, others = claims.of(key("b"), wanted("b", "orders"))
    assert servers.asked == ["ns/a", "ns/b", "ns/a"] or servers.asked == ["ns/a", "ns/a", "ns/b"]  # in detail now
    assert found
    told = set(found)
    assert others == ({key("a")} if "ns/a-orders" in told else set())
    found, others = claims.of(key("b"), None)
    assert found == {}


def test_what_a_source_wants_anew_is_asked_and_the_others_are_left_alone():
    servers = Servers()
    claims = Claims(servers.ask)
    claims.of(key("a"), wanted("a", "orders"))
    claims.of(key("b"), wanted("b", "items"))
    claims.of(key("a"), wanted("a", "orders", "customers"))
    assert servers.asked == ["ns/a", "ns/b", "ns/a"]


def test_one_that_does_not_answer_is_asked_by_those_alone_who_need_it():
    servers = Servers()
    claims = Claims(servers.ask)
    servers.away = {"ns/a"}
    claims.of(key("a"), wanted("a", "orders"))
    claims.of(key("b"), wanted("b", "items"))
    claims.of(key("c"), wanted("c", "parts"))
    assert servers.asked == ["ns/a", "ns/b", "ns/c"]
    servers.away = set()
    claims.of(key("a"), wanted("a", "orders"))
    claims.of(key("a"), wanted("a", "orders"))
    assert servers.asked == ["ns/a", "ns/b", "ns/c", "ns/a"]
