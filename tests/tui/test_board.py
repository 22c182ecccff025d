"""Events folded into what the console knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tui.conftest import NOW, make_pending, make_row

from mitmgate.control.models import (
    Completed,
    CompletedEvent,
    Event,
    HeldEvent,
    Resolved,
    ResolvedEvent,
    RowEvent,
    Snapshot,
    State,
    StateEvent,
)
from mitmgate_tui.board import MAX_ARGUMENTS, MAX_RULES, Board
from mitmgate_tui.entry import Entry
from mitmgate_tui.signs import APPROVED, DENIED, HELD, TICKET, UNKNOWN, sign_of

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE = State(
    version="0", listen="-", mode="enforce", policy="-", pending=0, operators=0, decisions=0,
    denied=0, healthy=True,
)  # fmt: skip


def board_of(*events: Event, max_rows: int = 100) -> Board:
    board = Board(max_rows=max_rows)
    for event in events:
        board.apply(event)
    return board


def entry_of(board: Board, row_id: str = "pay.0") -> Entry:
    entry = board.entries.get(row_id)
    assert entry is not None
    return entry


def resolved(entry: str, answer: str = "allow") -> ResolvedEvent:
    return ResolvedEvent(
        resolved=Resolved.model_validate(
            {"id": entry, "answer": answer, "via": "api", "operator": None, "reason": None,
             "waited": 1.0}
        )
    )  # fmt: skip


def rows(names: Iterable[str]) -> list[Event]:
    return [RowEvent(row=make_row(name)) for name in names]


def test_a_held_call_is_one_row_whether_its_row_came_first_or_not() -> None:
    call = make_pending("pay")
    row, held = RowEvent(row=call.row), HeldEvent(pending=call)
    for events in ((row, held), (held, row), (held,)):
        board = board_of(*events)
        assert [entry.id for entry in board.entries] == ["pay.0"]
        assert sign_of(entry_of(board)) == HELD
        assert board.waiting["pay.0"].waits


def test_an_answer_ends_the_wait_and_changes_the_sign() -> None:
    held = HeldEvent(pending=make_pending("pay"))
    assert sign_of(entry_of(board_of(held, resolved("pay.0")))) == APPROVED
    board = board_of(held, resolved("pay.0", "deny"))
    assert sign_of(entry_of(board)) == DENIED
    assert not board.waiting


def test_a_row_denied_because_nobody_was_there_says_so() -> None:
    row = make_row("pay", verdict="ask")
    board = board_of(RowEvent(row=row), resolved("pay.0", "deny"))
    assert sign_of(entry_of(board)) == DENIED


def test_events_about_the_unknown_change_nothing() -> None:
    done = CompletedEvent(
        completed=Completed(
            exchange="no", status=200, request_bytes=0, response_bytes=0, latency=1, fate="answered"
        )
    )
    board = board_of(resolved("no.0"), done)
    assert not board.entries


def test_old_rows_fall_out_and_leave_nothing_behind() -> None:
    board = board_of(*rows(f"n{number}" for number in range(500)), max_rows=10)
    assert [entry.id for entry in board.entries] == [f"n{number}.0" for number in range(490, 500)]
    assert len(board._open) == 10


def test_a_call_that_waits_outlives_its_row() -> None:
    held = HeldEvent(pending=make_pending("pay"))
    board = board_of(held, *rows(f"n{number}" for number in range(50)), max_rows=10)
    assert "pay.0" not in board.entries
    assert board.find("pay.0") is board.waiting["pay.0"]


def test_arguments_of_answered_calls_are_let_go() -> None:
    board = Board()
    for number in range(MAX_ARGUMENTS + 5):
        board.apply(HeldEvent(pending=make_pending(f"n{number}", arguments="x")))
        board.apply(resolved(f"n{number}.0"))
    kept = [entry for entry in board.entries if entry.pending is not None]
    assert len(kept) == MAX_ARGUMENTS


def test_a_snapshot_adds_to_what_was_seen_and_what_waited_before_is_over() -> None:
    board = board_of(*rows(["old"]), HeldEvent(pending=make_pending("gone")))
    board.lose("restart")
    board.apply(
        Snapshot(
            state=STATE, rows=(make_row("old"), make_row("new")),
            pending=(make_pending("fresh"),), operator=True,
        )
    )  # fmt: skip
    assert [entry.id for entry in board.entries] == ["old.0", "gone.0", "new.0", "fresh.0"]
    assert list(board.waiting) == ["fresh.0"]
    assert not entry_of(board, "gone.0").waits
    assert board.gone is None


def test_what_waited_behind_a_lost_stream_cannot_be_answered() -> None:
    board = board_of(HeldEvent(pending=make_pending("pay")))
    board.lose("broken")
    assert board.waiting_entry("pay.0") is None


def test_rows_of_an_exchange_learn_how_it_ended_and_the_exchange_is_let_go() -> None:
    board = board_of(
        *(RowEvent(row=make_row("x", id=f"x.{number}")) for number in range(3)),
        RowEvent(row=make_row("y")),
    )
    done = Completed(
        exchange="x", status=200, request_bytes=3, response_bytes=4, latency=0.5, fate="answered"
    )
    board.apply(CompletedEvent(completed=done))
    assert [entry.done for entry in board.entries] == [done, done, done, None]
    assert list(board._open) == ["y"]
    assert list(board.latencies) == [0.5]


def test_rules_are_counted_by_what_they_decided_and_bounded() -> None:
    board = board_of(
        RowEvent(row=make_row("a", rule="r")),
        RowEvent(row=make_row("b", rule="r", verdict="deny", time=NOW + 5)),
    )
    seen = board.rules["r"]
    assert (seen.allowed, seen.asked, seen.denied, seen.last) == (1, 0, 1, NOW + 5)
    for number in range(MAX_RULES):
        board.apply(RowEvent(row=make_row(f"n{number}", rule=f"rule {number}")))
    assert len(board.rules) == MAX_RULES
    assert "r" not in board.rules


def test_the_rate_is_what_was_decided_between_two_state_lines() -> None:
    board = board_of(*(StateEvent(state=STATE.model_copy(update={"decisions": n})) for n in (5,)))
    assert board.rate is None
    board.apply(StateEvent(state=STATE.model_copy(update={"decisions": 46})))
    assert board.rate == 41


def test_a_detached_call_keeps_its_arguments_whatever_else_is_answered() -> None:
    call = make_pending("pay", arguments="x")
    board = board_of(HeldEvent(pending=call), resolved("pay.0", "deny"), max_rows=1_000)
    board.apply(HeldEvent(pending=call.model_copy(update={"detached": True})))
    for number in range(MAX_ARGUMENTS + 5):
        board.apply(HeldEvent(pending=make_pending(f"n{number}")))
        board.apply(resolved(f"n{number}.0"))
    assert board.waiting["pay.0"].pending is not None
    board.apply(resolved("pay.0"))
    assert sign_of(entry_of(board)) == TICKET
    for number in range(MAX_ARGUMENTS):
        board.apply(HeldEvent(pending=make_pending(f"m{number}")))
        board.apply(resolved(f"m{number}.0"))
    assert entry_of(board).pending is None
    assert sign_of(entry_of(board)) == TICKET


def test_what_became_of_a_call_behind_a_lost_stream_is_unknown_until_it_is_told() -> None:
    board = board_of(*(HeldEvent(pending=make_pending(name)) for name in ("pay", "still")))
    board.lose("broken")
    assert sign_of(entry_of(board)) == UNKNOWN
    board.apply(Snapshot(state=STATE, rows=(), pending=(make_pending("still"),), operator=True))
    assert sign_of(entry_of(board)) == UNKNOWN
    assert sign_of(entry_of(board, "still.0")) == HELD
    board.apply(resolved("pay.0"))
    assert sign_of(entry_of(board)) == APPROVED


def test_what_the_snapshot_says_was_answered_is_known() -> None:
    board = board_of(HeldEvent(pending=make_pending("pay")))
    board.lose("broken")
    snapshot = Snapshot(state=STATE, rows=(), pending=(), operator=True)
    object.__setattr__(snapshot, "recent", (resolved("pay.0", "deny").resolved,))
    board.apply(snapshot)
    assert sign_of(entry_of(board)) == DENIED
