"""What the board makes of a database that answers nobody."""

from __future__ import annotations

from pantograph.reflector.reporting import Board


def test_a_database_is_away_when_neither_its_stream_nor_whoever_looks_has_an_answer():
    now = [100.0]
    board = Board(lambda: now[0])
    seen, link = board.of("ns/orders"), board.link("ns/shop", "source")
    seen.reached_at = now[0]
    board.asked(link)
    board.answered(link, "Unreachable")
    assert board.away(seen, "ns/shop", "ns/warehouse") == ""  # its stream has just had one
    now[0] += 10
    assert board.away(seen, "ns/shop", "ns/warehouse") == "ns/shop"
    board.answered(link)
    assert board.away(seen, "ns/shop", "ns/warehouse") == ""


def test_a_database_that_hangs_is_away_too_though_nothing_has_failed():
    now = [100.0]
    board = Board(lambda: now[0])
    seen, link = board.of("ns/orders"), board.link("ns/warehouse", "destination")
    seen.reached_at = now[0]
    board.asked(link)
    now[0] += 60
    assert board.away(seen, "ns/shop", "ns/warehouse") == "ns/warehouse"
