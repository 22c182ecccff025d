"""All of a row: its arguments as a tree, what differs, what was found, what was answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.control.detail import Detail
from mitmgate.control.models import Change, FindingView
from mitmgate_tui.asking import MAX_COPIED, Offer, offer_of
from mitmgate_tui.keys import KEYS
from mitmgate_tui.widgets.difference import change_lines
from mitmgate_tui.widgets.tree import MAX_CHILDREN, MAX_EACH, MAX_LINES, Marks, marks_of, tree_lines

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import make_pending, make_row


def plain(value: Any, marks: Marks | None = None, depth: int = 30) -> list[str]:
    return [line.plain for line in tree_lines(value, marks or Marks(), depth=depth)]


def at(pointer: str) -> FindingView:
    return FindingView(
        detector="pii", rule="pii.email", severity="low", surface="arguments", pointer=pointer
    )


TREES: dict[str, tuple[Any, list[str]]] = {
    "members and items": (
        {"name": "pay", "arguments": {"amount": 4.5, "tags": ["a", None]}},
        ["├ name pay", "└ arguments", "  ├ amount 4.5", "  └ tags", "    ├ 0 a", "    └ 1 null"],
    ),
    "empty ones": ({"a": {}, "b": [], "c": ""}, ["├ a {}", "├ b []", "└ c "]),
    "a text of several lines": ({"code": "x\n y"}, ["└ code x", "   y"]),
    "a text alone": ("a body", ["a body"]),
    "escapes and markup": ({"\x1b[2J": "[b]\u202e"}, ["└ ␛[2J [b]‹U+202E›"]),
}  # fmt: skip


@pytest.mark.parametrize(("value", "lines"), TREES.values(), ids=list(TREES))
def test_a_tree(value: Any, lines: list[str]) -> None:
    assert plain(value) == lines


def test_findings_and_changes_stand_where_they_are() -> None:
    marks = marks_of(
        [at("/params/arguments/to~decoded")],
        [Change(pointer="/arguments/amount", before=40, after=4200),
         Change(pointer="/arguments/new~1one", before=None, after=True)],
    )  # fmt: skip
    value = {"arguments": {"amount": 4200, "to": "a@b", "new/one": True}}
    assert plain(value, marks) == [
        "└ arguments", "  ├ amount 4200   was 40", "  ├ to a@b   ⚠ low pii.email",
        "  └ new/one true   new",
    ]  # fmt: skip


def test_what_is_folded_is_counted_and_what_is_marked_is_never_folded() -> None:
    value = {"a": {"b": {"c": 1}}, "x": {"y": {"z": 1}}}
    assert plain(value, depth=1) == ["├ a ▸ 1 members", "└ x ▸ 1 members"]
    assert plain(value, marks_of([at("/x/y/z")], None), depth=1) == [
        "├ a ▸ 1 members", "└ x", "  └ y", "    └ z 1   ⚠ low pii.email",
    ]  # fmt: skip


def test_long_lists_are_cut_and_a_finding_at_their_end_is_shown() -> None:
    lines = plain({"all": list(range(1000))}, marks_of([at("/all/999")], None))
    assert len(lines) == 1 + MAX_CHILDREN + 1 + 1
    assert lines[-2].endswith("999 999   ⚠ low pii.email")
    assert lines[-1].endswith(f"… {1000 - MAX_CHILDREN - 1} more")


HIDING: dict[str, tuple[Any, str, str]] = {
    "behind 900 line breaks": ({"note": "a" + "\n" * 900, "amount": 7}, "amount 7", "861 of 901"),
    "in a long command": (
        {"cmd": f"echo {'x' * 1500}; rm -rf / ;{'y' * 1500}", "amount": 7}, "amount 7", "of 3,017",
    ),
    "behind 60 long texts": (
        {**{f"n{at}": "\n" * 50 for at in range(60)}, "amount": 7}, "amount 7", "of 50 characters",
    ),
    "behind a list of lists": (
        {"all": [[0] * 60] * 60, "amount": 7}, "amount 7", "… 53 more",
    ),
    "one below": (
        {"arguments": {"all": [[0] * 60] * 60, "amount": 7}, "x": "y"}, "amount 7", " more",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "shown", "cut"), HIDING.values(), ids=list(HIDING))
def test_no_member_hides_another_and_what_is_cut_says_so(value: Any, shown: str, cut: str) -> None:
    lines = plain(value)
    assert len(lines) <= MAX_LINES
    assert any(line.endswith(shown) for line in lines)
    assert any("⚠" in line and cut in line for line in lines)


def test_more_shows_what_was_cut() -> None:
    value = {"note": "\n".join(map(str, range(100))), "cmd": "x" * 1500 + "rm -rf /" + "y" * 1500}
    before, after = (
        [line.plain for line in tree_lines(value, Marks(), more=more)] for more in (0, 1)
    )
    assert len(before) <= 2 * MAX_EACH
    assert not any("rm -rf /" in line for line in before)
    assert any("rm -rf /" in line for line in after)
    assert not any("⚠" in line for line in after)
    assert sum(line.endswith(" 50") for line in after) == 1


def test_work_on_a_long_list_is_bounded() -> None:
    class Counted(list[int]):
        seen = 0

        def __iter__(self) -> Any:
            for item in super().__iter__():
                self.seen += 1
                yield item

    many = Counted(range(100_000))
    plain({"all": many})
    assert many.seen < 1_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=200,
)


@given(_JSON, st.integers(1, 30), st.text(alphabet="/~01ab", max_size=12))
def test_any_tree_is_drawn_within_bounds(value: Any, depth: int, pointer: str) -> None:
    lines = plain(value, marks_of([at(pointer)], None), depth)
    assert len(lines) <= MAX_LINES + 1
    # A mark keeps letters from right to left within their field.
    assert all(line.replace("\u200e", "").isprintable() for line in lines)


def test_a_tree_as_deep_as_json_can_be() -> None:
    value: Any = 1
    for _ in range(5_000):
        value = [value]
    assert len(plain(value, marks_of([at("/0" * 5_000)], None))) < 50


def test_a_difference_is_told_line_by_line() -> None:
    changes = [Change(pointer="/arguments/amount", before=40, after="x" * 1000)] * 60
    lines = [line.plain for line in change_lines(changes)]
    assert lines[0] == "changed since the last approved call"
    assert lines[1].startswith(" /arguments/amount  40 → xxx")
    assert all(len(line) < 130 for line in lines)
    assert lines[-1] == "⚠ 10 more changes are not shown"
    assert [line.plain for line in change_lines([])] == ["the same as the last approved call"]


# Asked of the proxy

FULL = Detail(
    row=make_row("get_issue"), request={"params": {"number": 7}}, answer={"result": "[b]ok[/b]"},
    events=({"progress": 1}, {"progress": 2}), trace=("locked: nothing", "reads: allow"),
    curl="curl -X POST https://mcp.github.com/mcp",
)  # fmt: skip
PARTS = ("number 7", "result [b]ok[/b]", "event 2", "progress 2", "trace", "reads: allow")


@pytest.mark.parametrize("size", [(140, 45), (80, 40)], ids=["wide", "narrow"])
async def test_enter_shows_all_that_the_proxy_knows(
    open_desk: OpenDesk, size: tuple[int, int]
) -> None:
    async with open_desk(size=size) as desk:
        desk.proxy.details["get_issue.0"] = FULL
        desk.proxy.row(make_row("get_issue"))
        await desk.shows("get_issue")
        await desk.press("up")
        assert not desk.proxy.detailed
        await desk.press("enter")
        for part in PARTS:
            await desk.shows(part)
        assert desk.proxy.detailed == ["get_issue.0"]


async def test_a_row_that_is_not_kept_says_so(desk: Desk) -> None:
    desk.proxy.row(make_row("get_issue"))
    await desk.shows("get_issue")
    await desk.press("up", "enter")
    await desk.shows("not offer this")


async def test_without_the_key_nothing_is_asked(open_desk: OpenDesk) -> None:
    async with open_desk(key=None) as desk:
        desk.proxy.row(make_row("get_issue"))
        await desk.shows("get_issue")
        await desk.press("up", "enter")
        await desk.settled()
        assert not desk.proxy.detailed


async def test_less_and_more_of_the_arguments(desk: Desk) -> None:
    await desk.hold(make_pending("pay", arguments={"arguments": {"a": {"deep": 1}}}))
    await desk.shows("deep 1")
    await desk.press("enter", *["minus"] * 9)
    await desk.shows("arguments ▸ 1 members")
    await desk.press("plus", "plus")
    await desk.shows("deep 1")


COPIED = {
    "J: all of it": ("J", FULL.model_dump(mode="json")),
    "C: a command": ("C", FULL.curl),
}


@pytest.mark.parametrize(("key", "text"), COPIED.values(), ids=list(COPIED))
async def test_a_row_is_copied(desk: Desk, key: str, text: Any) -> None:
    desk.proxy.details["get_issue.0"] = FULL
    desk.proxy.row(make_row("get_issue"))
    await desk.shows("get_issue")
    await desk.press("up", key)
    await desk.until(lambda: desk.app.clipboard)
    copied = desk.app.clipboard
    assert (json.loads(copied) if key == "J" else copied) == text


NOT_COPIED = {
    "no command says it": ("C", FULL.model_copy(update={"curl": None}), "one command"),
    "too long for a terminal": (
        "J", FULL.model_copy(update={"answer": "x" * MAX_COPIED}), "too long for a terminal",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("key", "detail", "says"), NOT_COPIED.values(), ids=list(NOT_COPIED))
async def test_what_cannot_be_copied_is_told(
    desk: Desk, key: str, detail: Detail, says: str
) -> None:
    desk.proxy.details["get_issue.0"] = detail
    desk.proxy.row(make_row("get_issue"))
    await desk.shows("get_issue")
    await desk.press("up", key)
    await desk.until(lambda: any(says in note for note in desk.notices()))
    assert not desk.app.clipboard


CAPTURED = {
    "made": (200, {}, "captured: /state/fixtures/get_issue.0.jsonl"),
    "not kept": (409, {"detail": "Its bodies were not kept."}, "Its bodies were not kept."),
}


@pytest.mark.parametrize(("status", "problem", "says"), CAPTURED.values(), ids=list(CAPTURED))
async def test_a_row_becomes_a_capture(
    desk: Desk, status: int, problem: dict[str, Any], says: str
) -> None:
    desk.proxy.answer_status, desk.proxy.problem = status, problem
    desk.proxy.row(make_row("get_issue"))
    await desk.shows("get_issue")
    await desk.press("up", "c")
    await desk.until(lambda: any(says in note for note in desk.notices()))
    assert desk.proxy.captured == ["get_issue.0"]


OFFERS = {
    "the usual": (b'{"paths": {"/v1/switch": {}, "/v1/rows/{id}": {}}}', {"kill", "copy-curl"}),
    "other names for parts": (b'{"paths": {"/rows/{row_id}": {}}}', {"copy-curl"}),
    "nothing": (b'{"paths": {}}', set()),
    "no document": (b"<html>", {"undo", "servers"}),
    "no object": (b'["paths"]', {"undo", "servers"}),
}


@pytest.mark.parametrize(("document", "wanted"), OFFERS.values(), ids=list(OFFERS))
def test_what_the_proxy_offers(document: bytes, wanted: set[str]) -> None:
    offer = offer_of(document)
    assert {key.id for key in KEYS if key.needs and key in offer} == wanted
    assert isinstance(offer, Offer)
