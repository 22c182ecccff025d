"""The views behind the numbers: servers, rules, health. They show, lead on, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.tui.conftest import NOW, make_pending, make_row

from mitmgate.control.health import Health, StageTimes
from mitmgate.control.models import (
    Completed,
    CompletedEvent,
    PolicyView,
    ServerList,
    ServerView,
    StateEvent,
)
from mitmgate.control.rules import RuleList, RuleView, Suggestion
from mitmgate.control.switch import Switch
from mitmgate.policy.load import load_policy
from mitmgate_tui.panes import PANES
from mitmgate_tui.screens.main import MainScreen
from mitmgate_tui.screens.pane import Pane
from mitmgate_tui.screens.servers import entry_for
from mitmgate_tui.widgets.page import MAX_LINES, Page
from mitmgate_tui.widgets.waiting import Waiting

if TYPE_CHECKING:
    from pydantic import BaseModel
    from tests.tui.conftest import Desk, FakeProxy, OpenDesk

URL = "https://mcp.evil.example/mcp"
UNKNOWN = ServerView(
    url=URL, server=None, name="[b]evil[/b]", title=None, version="1",
    protocol_versions=("2025-06-18",), transports=("streamable_http",), tools=("a\x1b", "b"),
    tools_total=2, agents=("ci",), agents_total=1, calls=7, first_seen=NOW, last_seen=NOW,
)  # fmt: skip
NAMED = UNKNOWN.model_copy(update={"server": "github", "url": "https://mcp.github.com/mcp"})
READS = RuleView(
    id="reads", layer="policy", section="mcp.rules", verdict="allow", text="tool: '[b]get_*'\n",
    hits=1_204, last_hit=NOW, never=False,
)  # fmt: skip
UNUSED = READS.model_copy(
    update={"id": "wiki", "layer": "locked", "verdict": "deny", "hits": 0, "last_hit": None,
            "never": True, "text": "tool: old\nthen: deny\n"}
)  # fmt: skip
HEALTH = Health(
    calls_per_second=41.26, stages={"whole": StageTimes(p50=0.0009, p95=0.25)}, pending=3,
    detached=4, readers=2, dropped=5, audit=None, policy=None, policy_hash="sha256:3f9c21a04be7",
    halt=Switch(on=False),
)  # fmt: skip


def says(proxy: FakeProxy, path: str, page: BaseModel) -> None:
    proxy.pages[path] = page.model_dump_json()


def line_with(desk: Desk, text: str) -> str:
    return next(line for line in desk.text().split("\n") if text in line)


# Servers


async def test_servers_without_a_name_come_first(desk: Desk) -> None:
    says(desk.proxy, "servers", ServerList(servers=(NAMED, UNKNOWN)))
    await desk.press("2")
    await desk.shows("2 servers, 1 of them without a name in the policy")
    shown = desk.text()
    assert shown.index("▲ unknown") < shown.index("mcp.github.com")
    for text in ("[b]evil[/b] 1", "7 calls by 1 agent,", "2 tools", "tools: a␛, b", "2025-06-18"):
        assert text in shown


async def test_an_unknown_server_comes_with_the_lines_that_name_or_block_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    monkeypatch.setattr(desk.app, "copy_to_clipboard", copied.append)
    says(desk.proxy, "servers", ServerList(servers=(NAMED, UNKNOWN)))
    await desk.press("2")
    await desk.shows(f'"mcp.evil.example": {{url: "{URL}"}}')
    rule = ['- id: "no-mcp.evil.example"', '  server: "mcp.evil.example"', "  then: deny"]
    for line in rule:
        await desk.shows(line)
    await desk.press("enter")
    assert copied == [f'servers:\n  "mcp.evil.example": {{url: "{URL}"}}\n']
    rules = "".join(f"    {line}\n" for line in rule)
    policy = load_policy(f"version: 1\n{copied[0]}mcp:\n  rules:\n{rules}", file="shown")
    assert [rule.id for rule in policy.calls.rules] == ["no-mcp.evil.example"]
    await desk.press("down")
    await desk.until(lambda: "to name it" not in desk.text())
    await desk.press("enter")
    assert len(copied) == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.example/mcp", '"a.example"'),
        ("https://taken.example/mcp", '"taken.example-2"'),
        ("http://[::1]:8000/mcp", '"--1"'),
        ('https://x"y.example/mcp', '"x-y.example"'),
        ("https://[redacted]/mcp", None),
        ("https://a.example/mcp\x1b[31m", None),
        ("https://ä.example/mcp", None),
        ("https://[::1", None),
        ("nothing", None),
    ],
)
def test_the_name_is_made_from_the_host(url: str, name: str | None) -> None:
    server = UNKNOWN.model_copy(update={"url": url, "name": "github", "title": "GitHub"})
    entry = entry_for(server, {"taken.example", "github"})
    assert (None if entry is None else entry.split("\n")[1].strip().partition(": ")[0]) == name


async def test_enter_leads_to_the_call_that_waits_for_an_unknown_server(desk: Desk) -> None:
    says(desk.proxy, "servers", ServerList(servers=(NAMED, UNKNOWN)))
    desk.proxy.hold(make_pending("other"), make_pending("pay", server=None, endpoint=URL + "?x=1"))
    await desk.shows("pay")
    await desk.press("2")
    await desk.shows("a call waits because nobody knows it: enter goes there")
    await desk.press("enter")
    await desk.until(lambda: isinstance(desk.app.screen, MainScreen))
    await desk.until(lambda: desk.app.screen.query_one(Waiting).selected == "pay.0")
    assert desk.app.screen.query_one(Waiting).has_focus
    assert not desk.app.armed
    await desk.press("a")
    assert not desk.proxy.decided


# Rules


async def test_each_rule_comes_with_its_hits_and_its_text(desk: Desk) -> None:
    says(desk.proxy, "rules", RuleList(rules=(READS, UNUSED)))
    says(desk.proxy, "policy", PolicyView(
        policy="sha256:3f9c21a04be7", source="policy.yaml", mode="enforce", rules=2, problem=None,
        waiting="sha256:1", changes=("mcp.rules: new: [b]opens[/b]",), applied=1, refused=0,
    ))  # fmt: skip
    await desk.press("3")
    await desk.shows("policy 3f9c21a04be7 from policy.yaml")
    assert line_with(desk, "1,204").split()[1:6] == ["▌reads", "policy", "allow", "1,204",
                                                     desk.app.clock.hms(NOW)]  # fmt: skip
    assert line_with(desk, "locked").split()[1:6] == ["wiki", "locked", "deny", "0", "never"]
    assert "tool: '[b]get_*'" in desk.text()
    assert "new: [b]opens[/b]" in desk.text()
    await desk.press("down")
    await desk.shows("tool: old")
    assert "[b]get_*" not in desk.text()


async def test_a_suggestion_leads_to_a_call_that_it_would_settle(desk: Desk) -> None:
    hint = Suggestion(text="approved 5 times: pay", on="tool", count=5, pending_like="pay.0")
    says(desk.proxy, "rules", RuleList(rules=(READS,), suggestions=(hint,)))
    desk.proxy.hold(make_pending("other"), make_pending("pay"))
    await desk.shows("pay")
    await desk.press("3")
    await desk.shows("◆ approved 5 times: pay")
    await desk.press("enter")
    await desk.until(lambda: isinstance(desk.app.screen, MainScreen))
    await desk.until(lambda: desk.app.screen.query_one(Waiting).selected == "pay.0")
    assert not desk.proxy.decided


async def test_a_suggestion_about_a_call_that_left_leads_nowhere(desk: Desk) -> None:
    hint = Suggestion(text="approved 5 times: pay", on="tool", count=5, pending_like="gone.0")
    says(desk.proxy, "rules", RuleList(rules=(READS,), suggestions=(hint,)))
    await desk.press("3")
    await desk.shows("◆ approved 5 times: pay")
    assert "enter goes" not in desk.text()
    await desk.press("enter")
    assert isinstance(desk.app.screen, Pane)


async def test_a_policy_of_many_rules_is_cut(desk: Desk) -> None:
    rules = tuple(READS.model_copy(update={"id": f"r{n}"}) for n in range(MAX_LINES + 50))
    says(desk.proxy, "rules", RuleList(rules=rules))
    await desk.press("3")
    await desk.shows("r0 ")
    page = desk.app.screen.query_one(Page)
    await desk.until(lambda: page.virtual_size.height == MAX_LINES + 1)


async def test_the_cursor_stays_in_sight_and_on_its_rule(desk: Desk) -> None:
    rules = [READS.model_copy(update={"id": f"r{n}"}) for n in range(100)]
    says(desk.proxy, "rules", RuleList(rules=tuple(rules)))
    await desk.press("3")
    await desk.shows("r0 ")
    await desk.press(*["down"] * 60)
    await desk.shows("▌r60 ")
    rules[60] = rules[60].model_copy(update={"hits": 77})
    says(desk.proxy, "rules", RuleList(rules=tuple(rules)))
    pane = desk.app.screen
    assert isinstance(pane, Pane)
    pane._ask()
    await desk.until(lambda: any("▌r60 " in text and " 77 " in text
                                 for text in desk.text().split("\n")))  # fmt: skip


# Health


async def test_the_health_of_the_gate_in_numbers(desk: Desk) -> None:
    says(desk.proxy, "health", HEALTH)
    done = Completed(
        exchange="one", status=200, request_bytes=1, response_bytes=1, latency=0.25, fate="answered"
    )
    desk.proxy.row(make_row("one"))
    desk.proxy.send(CompletedEvent(completed=done))
    desk.proxy.beat()
    await desk.press("4")
    await desk.shows("p50 250 ms, p95 250 ms")
    facts: dict[str, Any] = {
        "calls a second": "41.3", "waiting": "3", "unanswered, kept": "4",
        "readers": "2, 5 messages missed", "policy  ": "3f9c21a04be7", "audit file": "fine",
        "kill switch": "off", "whole, ": "0.9 ms    250 ms", "rows kept": "1 of 100,000",
    }  # fmt: skip
    for name, value in facts.items():
        assert value in line_with(desk, name), name


async def test_what_is_wrong_is_told(desk: Desk) -> None:
    halt = Switch(on=True, by="tom", since=NOW, reason="[b]strange[/b]")
    ill = HEALTH.model_copy(update={"audit": "disk full", "policy": "line 3", "halt": halt})
    says(desk.proxy, "health", ill)
    await desk.press("4")
    since = desk.app.clock.hms(NOW)
    await desk.shows(f"■ kill switch on since {since} by tom, [b]strange[/b]: everything is denied")
    assert "▲ disk full" in line_with(desk, "audit file")
    assert "▲ line 3" in line_with(desk, "policy file")


async def test_the_status_line_tells_of_the_kill_switch(desk: Desk) -> None:
    state = desk.proxy.state().model_copy(update={"halt": Switch(on=True, by="tom", since=NOW)})
    desk.proxy.send(StateEvent(state=state))
    await desk.shows("■ KILL SWITCH: all denied")


# All of them


@pytest.mark.parametrize("name", PANES)
async def test_a_view_that_the_proxy_does_not_offer_is_absent(
    proxy: FakeProxy, open_desk: OpenDesk, name: str
) -> None:
    key = {"servers": "2", "rules": "3", "health": "4"}[name]
    async with open_desk(size=(260, 45)) as desk:
        await desk.shows(f" {key} {name}  ")
    proxy.offers = tuple(path for path in proxy.offers if path != f"/v1/{name}")
    async with open_desk(size=(260, 45)) as desk:
        await desk.shows("  k kill switch  ")
        assert f" {key} {name}  " not in desk.text()
        await desk.press(key)
        assert isinstance(desk.app.screen, MainScreen)


@pytest.mark.parametrize("size", [(140, 45), (80, 24)], ids=["wide", "narrow"])
async def test_the_numbers_change_the_view_and_nothing_decides_there(
    open_desk: OpenDesk, size: tuple[int, int]
) -> None:
    async with open_desk(size=size) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("pay")
        for key, name in {"2": "Servers", "3": "Rules", "4": "Health"}.items():
            await desk.press(key)
            await desk.shows(f"─ {name} ─")
            await desk.shows("⏸ 1")
            await desk.arm()
            await desk.press("a", "d")
        assert len(desk.app.screen_stack) == 2
        await desk.press("1")
        await desk.until(lambda: isinstance(desk.app.screen, MainScreen))
        assert not desk.proxy.decided


async def test_escape_and_keys_of_the_live_view_lead_back_to_it(desk: Desk) -> None:
    desk.proxy.row(make_row("one"), make_row("two"))
    await desk.shows("two")
    await desk.press("4")
    await desk.until(lambda: isinstance(desk.app.screen, Pane))
    await desk.press("escape")
    await desk.until(lambda: isinstance(desk.app.screen, MainScreen))
    await desk.press("3", "slash", *"two")
    await desk.shows("Live · / two")


@pytest.mark.parametrize(("key", "path"), [("2", "servers"), ("3", "rules"), ("4", "health")])
async def test_an_answer_that_is_not_understood_is_told(desk: Desk, key: str, path: str) -> None:
    desk.proxy.pages[path] = '{"later": 1}'
    await desk.press(key)
    await desk.shows("is it a newer version?")
