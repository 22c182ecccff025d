"""The stream: how it breaks and comes back, and what the console does meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mitmgate.control.models import DecideRequest, HeldEvent, RowEvent
from mitmgate_tui.app import INTERRUPTED, Options
from mitmgate_tui.client import BACKOFF, Client, Gone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tui.conftest import Desk, FakeProxy, OpenDesk

from tests.tui.conftest import KEY, make_pending, make_row


async def test_a_restarted_proxy_is_found_again(desk: Desk) -> None:
    desk.proxy.hold(make_pending("old"))
    await desk.until(lambda: desk.app.board.waiting)
    await desk.proxy.stop()
    await desk.shows("● gone, reconnecting")
    assert not desk.app.board.waiting
    await desk.press("a")
    await desk.until(lambda: any("out of reach" in note for note in desk.notices()))
    desk.proxy.pending = {call.id: call for call in [make_pending("fresh")]}
    await desk.proxy.start()
    await desk.shows("● healthy")
    await desk.shows("fresh")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][0] == "fresh.0"


async def test_the_client_waits_longer_after_each_failure(tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    stream = Client(tmp_path / "nobody.sock", None, sleep=sleep).follow()
    for _ in range(6):
        assert isinstance(await anext(stream), Gone)
    await stream.aclose()
    assert slept == [*BACKOFF, BACKOFF[-1]]


async def test_a_name_with_a_line_separator_stays_one_row(desk: Desk) -> None:
    # str.splitlines, and httpx with it, would cut the line at each of these.
    desk.proxy.row(make_row("row", tool="a\u2028b\x85c\x0bd"))
    await desk.until(lambda: "row.0" in desk.app.board.entries)
    await desk.press("up")
    await desk.shows("a‹U+2028›b‹U+0085›c␋d")
    assert not desk.notices()


async def test_a_line_may_come_in_any_pieces(desk: Desk) -> None:
    data = b"".join(
        event.model_dump_json().encode() + b"\n"
        for event in (RowEvent(row=make_row("één")), HeldEvent(pending=make_pending("pay")))
    )
    for at in range(len(data)):
        desk.proxy.raw(data[at : at + 1])
    await desk.until(lambda: desk.app.board.waiting)
    assert [entry.id for entry in desk.app.board.entries] == ["één.0", "pay.0"]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b'{"type":"later"}\n', b"\xff\xfe[[[\n"])
async def test_a_line_nobody_understands_is_left_out_and_told(desk: Desk, line: bytes) -> None:
    desk.proxy.raw(line)
    desk.proxy.row(make_row("after"))
    await desk.shows("after")
    assert any("newer version" in note for note in desk.notices())


async def test_a_flood_is_drawn_as_a_flood(open_desk: OpenDesk) -> None:
    async with open_desk(max_rows=10_000) as desk:
        desk.proxy.row(*(make_row(f"n{number}") for number in range(12_000)))
        await desk.until(lambda: "n11999.0" in desk.app.board.entries, seconds=60)
        assert len(desk.app.board.entries) == 10_000
        await desk.shows("n11999")


async def test_a_proxy_of_agents_is_not_asked_for_the_socket(
    proxy: FakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    stream = Client(proxy.path, KEY).follow()
    assert not isinstance(await anext(stream), Gone)
    await stream.aclose()


async def test_an_id_cannot_leave_its_folder(proxy: FakeProxy) -> None:
    call = make_pending("x", id="../v1?a=b#c").model_copy(update={"id": "..%2e?a#b é"})
    proxy.pending[call.id] = call
    await Client(proxy.path, KEY).decide(call.id, DecideRequest(decision="deny"))
    assert [entry for entry, _ in proxy.decided] == [call.id]


async def test_until_decided_leaves_after_the_first_decision(open_desk: OpenDesk) -> None:
    async with open_desk(options=Options(until_decided=True, linger=0.01)) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("pay")
        await desk.arm()
        assert desk.app.is_running
        await desk.press("a")
        await desk.until(lambda: desk.app.return_code is not None)
        assert desk.app.return_code == 0
        assert len(desk.proxy.decided) == 1


async def test_until_decided_leaves_too_when_somebody_else_or_the_clock_answered(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(options=Options(until_decided=True, linger=0.01)) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("pay")
        desk.proxy.resolve("pay.0", "deny")
        await desk.until(lambda: desk.app.return_code is not None)
        assert (desk.app.return_code, desk.proxy.decided) == (0, [])


LEAVING = {
    "q leaves the gate alone": ("q", True, 0),
    "ctrl+c ends the gate that started us": ("ctrl+c", True, INTERRUPTED),
    "ctrl+c of a console of its own just leaves": ("ctrl+c", False, 0),
    "ctrl+q is no way around": ("ctrl+q", True, 0),
}


@pytest.mark.parametrize(("key", "spawned", "code"), LEAVING.values(), ids=list(LEAVING))
async def test_leaving(open_desk: OpenDesk, key: str, spawned: bool, code: int) -> None:
    async with open_desk(options=Options(spawned=spawned)) as desk:
        await desk.pilot.press(key)
        await desk.until(lambda: desk.app.return_code is not None)
        assert desk.app.return_code == code
        assert not desk.proxy.decided
