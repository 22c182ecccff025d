"""Approvals that come late, that are remembered and taken back: real clients, the real shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import POLICY, Agent, Gate, Mcp, mitmgate

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
NOTE = {"title": "t", "text": "b"}


def entries(gate: Gate) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gate.command("pending", "--json").stdout)["pending"]
    return found


@pytest.mark.parametrize("era", ERAS, ids=list(ERAS.values()))
def test_what_nobody_approved_in_time_runs_once_when_it_is_tried_again(
    era: str,
    mcp: Mcp,
    start_gate: Callable[..., Gate],
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(mcp.port)).replace("wait: 30s", "wait: 1s"))
    agent = start_agent(gate, mcp.url, era)
    late = agent.do(call="save_note", arguments=NOTE)
    [entry] = entries(gate)
    assert late == {
        "error": True,
        "text": f"Approval pending ({entry['id']}): retry with the same arguments once it is "
        "approved.",
    }
    assert (entry["detached"], entry["arguments"]["arguments"]) == (True, NOTE)
    assert mcp.calls == []

    approved = gate.command("approve", entry["id"])
    assert (approved.returncode, approved.stdout) == (
        0, f"approved {entry['id']}: the agent's next try passes (ticket t1)\n",
    )  # fmt: skip
    other = agent.do(call="save_note", arguments={"title": "t", "text": "another"})
    assert other["text"].startswith("Approval pending")
    assert mcp.calls == []
    assert agent.do(call="save_note", arguments=NOTE) == {"error": False, "text": "Saved 't'."}
    assert mcp.calls == [("save_note", NOTE)]

    again = agent.do(call="save_note", arguments=NOTE)
    assert again["text"].startswith("Approval pending")
    assert mcp.calls == [("save_note", NOTE)]
    [passed] = gate.decisions(tool="save_note", code="ticket")
    assert (passed["verdict"], passed["grant"]) == ("allow", "t1")
    agent.close()
    assert gate.stop()[0] == 0
    shown = mitmgate("audit", "query", "--state-dir", str(gate.state))
    assert (shown.returncode, "damaged" in shown.stderr) == (0, False)


def test_an_answer_for_a_tool_counts_until_it_is_taken_back(
    gate: Gate, mcp: Mcp, start_agent: Callable[[Gate, str, str], Agent]
) -> None:
    agent = start_agent(gate, mcp.url, "auto")
    agent.ask(call="save_note", arguments=NOTE)
    entry = gate.wait_pending()
    assert [scope["on"] for scope in entry["scopes"]] == ["call", "values", "tool", "server"]
    done = gate.command("approve", entry["id"], "--for", "15m", "--on", "values", "--same", "title")
    assert (done.returncode, "remembered as g1" in done.stdout) == (0, True), done.stderr
    assert agent.read()["error"] is False
    assert agent.do(call="save_note", arguments={"title": "t", "text": "more"})["error"] is False
    listed = gate.command("grants")
    assert "g1  approved by " in listed.stdout
    assert "with the same title" in listed.stdout

    agent.ask(call="save_note", arguments={"title": "another", "text": "b"})
    other = gate.wait_pending()
    assert gate.command("deny", other["id"]).returncode == 0
    assert agent.read()["error"] is True

    assert gate.command("undo", "g1").stdout.startswith("undone: g1  approved by ")
    agent.ask(call="save_note", arguments={"title": "t", "text": "more"})
    asked = gate.wait_pending()
    assert gate.command("deny", asked["id"]).returncode == 0
    assert agent.read()["error"] is True
    assert len(mcp.calls) == 2
    assert gate.command("grants").stdout == "Nothing is remembered.\n"
    assert gate.command("grants", key=False).returncode == 2
    assert gate.command("undo", "g1", key=False).returncode == 2
