"""For ever: the rule is shown before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mitmgate.control.decisions import Preview
from mitmgate.control.models import DecideRequest
from mitmgate.policy.remembered import RememberedRule, entry_of
from mitmgate.serve.remembered import FILE, Draft
from mitmgate.strictyaml.listing import with_item
from mitmgate_tui.example import pages
from mitmgate_tui.screens.preview import PreviewScreen
from mitmgate_tui.widgets.difference import MAX_DIFF, diff_lines

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import PREVIEW, SCOPES, make_pending

HEAD = "# What the\n# file is.\nversion: 1\nkey: k\nrules:\n"


async def previewed(desk: Desk) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES, fingerprint="f1"))
    await desk.arm()
    await desk.press("f")
    await desk.opens(PreviewScreen)


async def test_it_is_shown_and_then_written(desk: Desk) -> None:
    await previewed(desk)
    [(entry, asked)] = desk.proxy.previewed
    assert (entry, asked.decision, asked.on, asked.operator) == ("pay.0", "allow", "call", "test")
    for told in ("Approve pay of claude@lap for ever", "+  - id: allow-pay",
                 "Mind the [b]gap[/b].", "settles 2 other waiting calls"):  # fmt: skip
        await desk.shows(told)
    assert desk.nothing_came()
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: desk.proxy.decided)
    [(entry, decided)] = desk.proxy.decided
    assert entry == "pay.0"
    assert (decided.lasting, decided.on, decided.preview) == ("ever", "call", PREVIEW.hash)
    assert (decided.fingerprint, decided.key) == ("f1", "f")
    await desk.until(lambda: any("remembered as g1" in note for note in desk.notices()))


REFUSED = {
    "the file changed": (409, "file_changed", "The file is another one now; look at it again."),
    "it cannot be written": (507, "not_saved", "It could not be saved; the call goes on waiting."),
}


@pytest.mark.parametrize(("status", "code", "says"), REFUSED.values(), ids=list(REFUSED))
async def test_a_rule_that_is_not_saved_is_told(
    desk: Desk, status: int, code: str, says: str
) -> None:
    desk.proxy.answer_status, desk.proxy.problem = status, {"code": code, "detail": says}
    await previewed(desk)
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: says in desk.notices())
    assert desk.nothing_came()
    assert desk.app.board.waiting


async def test_escape_writes_nothing(desk: Desk) -> None:
    await previewed(desk)
    await desk.press("escape")
    await desk.settled()
    assert desk.nothing_came()


async def test_a_call_that_moved_meanwhile_is_not_decided(desk: Desk) -> None:
    await previewed(desk)
    desk.proxy.hold(make_pending("pay", scopes=SCOPES, fingerprint="f2"))
    await desk.shows("is another one by now")
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: any("another call by now" in note for note in desk.notices()))
    assert desk.nothing_came()


async def test_a_rule_taller_than_the_screen_leaves_warnings_and_keys_in_sight(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(size=(80, 24)) as desk:
        rule = "".join(f"+      line {at}\n" for at in range(60))
        diff = f"--- a\n+++ b\n@@ -1 +1,2 @@\n calls:\n{rule}"
        history = "in the last 7 days this would have settled 3 calls"
        changed = {"diff": diff, "covers": 1, "history": history}
        desk.proxy.preview = PREVIEW.model_copy(update=changed)
        await previewed(desk)
        await desk.arm()
        for told in (
            "▸ y write it and approve", "Mind the [b]gap[/b].", "line 3",
            "In the last 7 days", "settles 1 other waiting call.",
            "covers exactly this pay on stripe",
        ):  # fmt: skip
            await desk.shows(told)


@pytest.mark.parametrize(
    ("key", "shown", "path"),
    [("f", "f ever", "/v1/pending/{id}/preview"), ("k", "k kill switch", "/v1/switch"),
     ("u", "u undo", "/v1/undo")],
)  # fmt: skip
async def test_a_key_that_the_proxy_has_nothing_behind_is_absent(
    open_desk: OpenDesk, key: str, shown: str, path: str
) -> None:
    async with open_desk(size=(200, 45)) as desk:
        await desk.hold(make_pending("pay", scopes=SCOPES))
        await desk.shows(shown)
        others = tuple(other for other in desk.proxy.offers if other != path)
        await desk.proxy.stop()
        desk.proxy.offers = others
        await desk.proxy.start()
        await desk.until(lambda: desk.proxy.readers == 2 and desk.app.board.waiting)
        await desk.until(lambda: shown not in desk.text() and "● healthy" in desk.text())
        await desk.arm()
        top = desk.app.screen
        await desk.press(key)
        await desk.settled()
        assert desk.app.screen is top
        assert desk.nothing_came()
        assert not desk.notices()


def test_no_line_of_a_difference_is_cut() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n+" + "x" * 100 + "\n \x1b[2J\n"
    lines = [line.plain for line in diff_lines(diff, 40)]
    assert "".join(lines[1:4]) == "+" + "x" * 100
    assert lines[-1] == " ␛[2J"
    assert len(list(diff_lines("+x\n" * 5_000, 40))) == MAX_DIFF + 1


def test_the_preview_of_the_pictures_is_what_the_program_writes() -> None:
    def rule(tool: str, server: str, made: str) -> RememberedRule:
        return RememberedRule(
            f"ever-allow-{tool.replace('_', '-')}", "allow", "tool", "claude@lap", server=server,
            method="tools/call", tool=tool, note=f"every tools/call {tool} on {server}", by="tom",
            made=made, outcome="c017.0",
        )  # fmt: skip

    def added(text: str, one: RememberedRule) -> str:
        return with_item(text, "rules", entry_of(one), file=FILE)

    new = rule("create_payment", "stripe", "2026-03-04T19:54:07Z")
    before = added(HEAD, rule("search_code", "github", "2026-03-03T10:12:00Z"))
    asked = DecideRequest(decision="allow", lasting="ever", on="tool")
    draft = Draft("c017.0", asked, new, before, added(before, new))
    told = next(page for path, page in pages().items() if path.endswith("/preview"))
    shown = Preview.model_validate_json(told)
    assert (shown.rule, shown.diff) == (draft.words, draft.diff)
