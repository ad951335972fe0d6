"""What the fence says of a checkpoint, for each thing that can have happened to a source."""

from __future__ import annotations

from typing import Any

from pantograph.model.changes import Control, Position
from pantograph.pipeline import fence
from pantograph.pipeline.checkpoints import State

NONCES = [(f"{n:010d}-abc", f"p{n}") for n in range(1, 11)]
NOW = Position("p10")


def control(*numbers: int, **changes: Any) -> Control:
    found = {"incarnation": "i", "owner": "o", "epoch": 1, "lease": 60.0, **changes}
    return Control(nonces=tuple(f"{n:010d}-abc" for n in numbers), **found)


def verdict(of: Control | None, *, life: str = "same", issued: bool = True, covers: str = "", **state: Any) -> Any:
    given = State(**{"incarnation": "i", "life": "same", "nonces": NONCES, **state})
    return fence.judge(given, NOW, of, life, issued=issued, covered=lambda position: position >= covers)


def test_nothing_happened() -> None:
    assert verdict(control(*range(1, 11))) == fence.InStep()


def test_a_destination_that_was_away_for_hours_goes_on_where_it_stood() -> None:
    # The control row has moved on by far; the nonce that was registered for the checkpoint was kept for it.
    assert verdict(control(9, *range(91, 101))) == fence.InStep()


def test_a_source_that_came_back_without_the_newest_nonce_is_read_again_from_the_one_before() -> None:
    assert verdict(control(*range(1, 10))) == fence.Moved(Position("p9"))
    assert verdict(control(*range(1, 10)), life="another") == fence.Moved(Position("p9"))


def test_a_restart_is_read_again_from_the_newest_nonce() -> None:
    assert verdict(control(*range(1, 11)), life="another") == fence.Moved(Position("p10"))


def test_a_source_that_was_away_and_restarted_is_read_again_from_the_nonce_that_was_kept() -> None:
    assert verdict(control(9, *range(91, 101)), life="another") == fence.Moved(Position("p9"))


def test_a_position_that_was_never_issued_is_gone_back_from() -> None:
    assert verdict(control(*range(1, 11)), issued=False) == fence.Moved(Position("p10"))


def test_nothing_known_another_life_a_dump_no_row_and_what_retention_took_are_lost() -> None:
    assert isinstance(verdict(control(21, 22), life="another"), fence.Lost)
    assert isinstance(verdict(control(*range(1, 11), incarnation="another")), fence.Lost)
    assert isinstance(verdict(control(*range(1, 11), genuine=False)), fence.Lost)
    assert isinstance(verdict(None), fence.Lost)
    assert isinstance(verdict(control(*range(1, 11)), covers="p99"), fence.Lost)


def test_a_way_back_that_retention_has_cut_is_lost() -> None:
    older = fence.judge(
        State(incarnation="i", life="same", nonces=NONCES), Position("q"), control(1, 2), "another", issued=True,
        covered=lambda position: position >= "p5",
    )  # fmt: skip
    assert isinstance(older, fence.Lost)


def test_a_checkpoint_without_a_nonce_goes_on_where_its_position_was_issued() -> None:
    assert verdict(control(1), nonces=[]) == fence.InStep()
    assert isinstance(verdict(control(1), nonces=[], issued=False), fence.Lost)
