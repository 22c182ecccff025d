"""The inventory end to end: a real client, a real server, and what ``mitmgate servers`` tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from harness import POLICY, Agent, Gate, Mcp

type StartAgent = Callable[[Gate, str, str], Agent]

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
TOOLS = ["read_note", "save_note", "delete_notes"]


def listed(gate: Gate) -> tuple[list[dict[str, Any]], str]:
    done = gate.command("servers", "--json", key=False)
    assert done.returncode == 0, done.stderr
    servers: list[dict[str, Any]] = json.loads(done.stdout)["servers"]
    return servers, done.stderr


@pytest.mark.parametrize("mode", ERAS, ids=list(ERAS.values()))
def test_a_server_that_was_used_is_listed_and_the_file_remembers_it(
    mode: str, gate: Gate, mcp: Mcp, start_agent: StartAgent
) -> None:
    before = time.time()
    agent = start_agent(gate, mcp.url, mode)
    agent.do(list=True)
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    assert agent.do(call="delete_notes", arguments={"force": True})["error"] is True
    [server], said = listed(gate)
    times = server.pop("first_seen"), server.pop("last_seen")
    assert server.pop("protocol_versions")[-1] == ERAS[mode]
    assert server == {
        "url": mcp.url, "server": "notes", "name": "notes", "title": None, "version": "1.0",
        "transports": ["streamable_http"], "tools": TOOLS, "tools_total": 3,
        "agents": ["127.0.0.1"], "agents_total": 1, "calls": 2,
    }  # fmt: skip
    assert before <= times[0] < times[1] <= time.time()
    assert said == ""
    agent.close()
    [last], _ = listed(gate)
    assert gate.stop()[0] == 0
    assert listed(gate) == ([last], "note: no proxy runs here; this is what the last one saw\n")
    shown = gate.command("servers", key=False).stdout
    assert shown.startswith(f"notes  {mcp.url}\n    says it is  notes 1.0\n")


@pytest.mark.parametrize("mode", ERAS, ids=list(ERAS.values()))
def test_a_server_that_no_policy_names_is_listed_as_unknown_although_it_was_denied(
    mode: str, start_gate: Callable[..., Gate], mcp: Mcp, start_agent: StartAgent
) -> None:
    named = POLICY.replace("MCP_PORT", "9").replace(
        "mcp:\n  rules:", "mcp:\n  unknown_servers: deny\n  rules:"
    )
    gate = start_gate(named)
    agent = start_agent(gate, mcp.url, mode)
    assert "failed" in agent.first
    assert mcp.calls == []
    [server], _ = listed(gate)
    assert (server["url"], server["server"], server["name"]) == (mcp.url, None, None)
    assert (server["transports"], server["agents"]) == (["streamable_http"], ["127.0.0.1"])
    assert ERAS[mode] in server["protocol_versions"]
    shown = gate.command("servers", key=False).stdout
    assert shown.startswith(f"unknown  {mcp.url}\n")
    assert f'  "mcp.upstream.example": {{url: "{mcp.url}"}}\n' in shown


def test_before_anything_was_seen_it_says_so(gate: Gate) -> None:
    assert listed(gate) == ([], "")
    assert gate.command("servers", key=False).stdout == "No MCP server was seen yet.\n"


def test_a_damaged_list_is_told_and_the_proxy_starts(
    start_gate: Callable[..., Gate], mcp: Mcp, start_agent: StartAgent
) -> None:
    text = POLICY.replace("MCP_PORT", str(mcp.port))
    gate = start_gate(text)
    assert gate.stop()[0] == 0
    (gate.state / "servers.json").write_text("{")
    again = start_gate(text, "--state-dir", str(gate.state), name="again")
    start_agent(Gate(again.process, again.ready, gate.state, gate.captures, gate.policy), mcp.url,
                "legacy")  # fmt: skip
    assert (gate.state / "servers.json.damaged").read_text() == "{"
    assert again.stop()[1].count("servers.json: is damaged") == 1
    assert len(json.loads((gate.state / "servers.json").read_text())["servers"]) == 1
