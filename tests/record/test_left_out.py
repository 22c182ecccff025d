"""What does not fit is left out: an exchange with a hole is never written as if it were whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from mitmgate.record.capture import CaptureWriter, Sink
from mitmgate.record.left_out import MOST, Intake, LeftOut, Writes

type Given = tuple[str, str]
"""The exchange, and ``begin``, ``more`` or ``end``."""


class Queue:
    """A writer that takes jobs where there is room, and runs them at once."""

    def __init__(self) -> None:
        self.room = True
        self.lines: list[tuple[str, str]] = []
        self.open: set[str] = set()

    def offer(self, job: Callable[[Sink], None], **_: Any) -> bool:
        if self.room:
            job(cast("Sink", None))
        return self.room

    def intake(self) -> Intake[Given]:
        writes = Writes(self._whole, self._cut, self._cut_end, self._cut_all)
        return Intake(cast("CaptureWriter", self), writes, spare=10)

    def _whole(self, _: Sink, given: Given, __: float) -> None:
        self.lines.append(given)
        self.open.add(given[0])
        if given[1] == "end":
            self.open.discard(given[0])

    def _cut(self, _: Sink, given: Given, __: float) -> None:
        line = given[0], "cut"
        if given[0] in self.open and line not in self.lines:
            self.lines.append(line)

    def _cut_end(self, sink: Sink, given: Given, at: float) -> None:
        if given[0] in self.open:
            self._cut(sink, given, at)
            self._whole(sink, given, at)

    def _cut_all(self, _: Sink, __: Given, ___: float) -> None:
        self.lines += [(name, "cut") for name in sorted(self.open)]
        self.open.clear()


def put(intake: Intake[Given], exchange: str, kind: str) -> None:
    intake.take((exchange, kind), exchange, 0.0, size=1, ends=kind == "end")


def test_an_exchange_is_cut_at_its_hole_and_ends_once() -> None:
    queue = Queue()
    intake = queue.intake()
    put(intake, "r-1", "begin")
    queue.room = False
    put(intake, "r-1", "more")
    queue.room = True
    for kind in ("more", "more", "end"):
        put(intake, "r-1", kind)
    assert queue.lines == [("r-1", "begin"), ("r-1", "cut"), ("r-1", "end")]
    assert (intake.dropped, "r-1" in intake) == (3, False)


def test_one_whose_first_input_is_missing_is_not_there() -> None:
    queue = Queue()
    intake = queue.intake()
    queue.room = False
    put(intake, "r-1", "begin")
    queue.room = True
    for kind in ("more", "end"):
        put(intake, "r-1", kind)
    assert queue.lines == []


def test_more_holes_than_are_remembered_leave_none_whole() -> None:
    queue = Queue()
    intake = queue.intake()
    for number in range(3 * MOST):
        put(intake, f"r-{number:x}", "begin")
    queue.room = False
    for number in range(2 * MOST):
        put(intake, f"r-{number:x}", "more")
    queue.room = True
    for number in range(3 * MOST):
        put(intake, f"r-{number:x}", "end")
    put(intake, f"r-{3 * MOST:x}", "begin")
    whole = {name for name, kind in queue.lines if kind == "end"}
    assert whole == set()
    assert {name for name, kind in queue.lines if kind == "cut"} == {
        f"r-{number:x}" for number in range(3 * MOST)}  # fmt: skip
    assert queue.lines[-1] == (f"r-{3 * MOST:x}", "begin"), "what begins then is kept"


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=120), st.integers(1, 4))
def test_nothing_with_a_hole_is_ever_told_as_whole(
    steps: list[tuple[int, bool]], most: int
) -> None:
    queue = Queue()
    intake = queue.intake()
    intake._left_out = LeftOut(most)
    current: dict[int, tuple[str, list[str]]] = {}
    told: dict[str, list[str]] = {}
    for count, (place, room) in enumerate(steps):
        queue.room = room
        name, kinds = current.get(place, (f"r-{count + 1:x}", []))
        kind = ("begin", "more", "more", "end")[len(kinds)]
        put(intake, name, kind)
        current[place] = name, [*kinds, kind]
        told[name] = current[place][1]
        if kind == "end":
            del current[place]
    for name, kinds in told.items():
        written = [kind for one, kind in queue.lines if one == name]
        before = written[: written.index("cut")] if "cut" in written else written
        assert before == kinds[: len(before)], "what is written is a beginning without holes"
        if "end" in before:
            assert before == kinds
        assert [kind for kind in written if kind not in ("cut", "end")] == [
            kind for kind in before if kind != "end"], "nothing comes behind a hole"  # fmt: skip


def test_memory_is_bounded() -> None:
    left = LeftOut()
    for number in range(10 * MOST):
        left.saw(f"r-{number:x}")
        left.add(f"r-{number:x}")
    assert len(left._cut) <= MOST
    assert f"r-{1:x}" in left
    assert f"r-{10 * MOST:x}" not in left
