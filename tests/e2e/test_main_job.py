"""The whole product once: a real client, a real server, the proxy as a process between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import POLICY, WEB_NAME, Agent, Gate, Mcp, Web, mitmgate

from mitmgate_tui.app import Options, connect

type StartAgent = Callable[[Gate, str, str], Agent]

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}


@pytest.fixture(params=list(ERAS), ids=list(ERAS.values()))
def agent(request: pytest.FixtureRequest, gate: Gate, mcp: Mcp, start_agent: StartAgent) -> Agent:
    """A client of each era, connected through the proxy."""
    client = start_agent(gate, mcp.url, request.param)
    assert client.first == {"connected": ERAS[request.param]}
    return client


def test_a_call_that_a_rule_allows_runs(agent: Agent, gate: Gate, mcp: Mcp) -> None:
    assert agent.do(list=True) == {"tools": ["read_note", "save_note", "delete_notes"]}
    answer = agent.do(call="read_note", arguments={"title": "x"})
    assert answer == {"error": False, "text": "The note 'x' says: water the plants."}
    assert mcp.calls == [("read_note", {"title": "x"})]
    [decision] = gate.decisions(tool="read_note", kind="request")
    assert (decision["verdict"], decision["rule"], decision["server"]) == (
        "allow", "reads", "notes",
    )  # fmt: skip


def test_a_denied_call_tells_why_and_the_session_goes_on(agent: Agent, mcp: Mcp) -> None:
    denied = agent.do(call="delete_notes", arguments={"force": True})
    assert denied == {
        "error": True, "text": "Deleting everything needs a person at the keyboard.",
    }  # fmt: skip
    assert mcp.calls == []
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False


def test_a_held_call_runs_after_the_shell_approved_it(agent: Agent, gate: Gate, mcp: Mcp) -> None:
    agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
    entry = gate.wait_pending()
    assert entry["arguments"]["arguments"] == {"title": "t", "text": "b"}
    assert mcp.calls == []
    done = gate.command("approve", entry["id"])
    assert (done.returncode, done.stdout) == (0, f"approved {entry['id']}\n")
    assert agent.read() == {"error": False, "text": "Saved 't'."}
    assert mcp.calls == [("save_note", {"title": "t", "text": "b"})]
    [answer] = [record for record in gate.audit() if record["type"] == "resolution"]
    assert (answer["id"], answer["answer"], answer["via"]) == (entry["id"], "allow", "shell")


def test_a_held_call_that_the_shell_denies_never_runs(agent: Agent, gate: Gate, mcp: Mcp) -> None:
    agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
    entry = gate.wait_pending()
    assert gate.command("deny", entry["id"], "--reason", "not on a Friday").returncode == 0
    assert agent.read() == {"error": True, "text": "The operator denied this: not on a Friday"}
    assert mcp.calls == []
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    again = gate.command("approve", entry["id"])
    assert again.returncode == 2
    assert "Too late: " in again.stderr


async def test_a_held_call_runs_after_one_key_in_the_console(
    agent: Agent, gate: Gate, mcp: Mcp
) -> None:
    app = connect(gate.state / "control.sock", gate.ready["operator_key"], operator="tester",
                  options=Options())  # fmt: skip
    async with app.run_test(size=(140, 40)) as pilot:
        agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
        while not (app.board.waiting and app.armed):
            await pilot.pause()
        await pilot.press("a")
        answer = await asyncio.to_thread(agent.read)
        assert answer == {"error": False, "text": "Saved 't'."}
    assert mcp.calls == [("save_note", {"title": "t", "text": "b"})]
    [answer] = [record for record in gate.audit() if record["type"] == "resolution"]
    assert (answer["answer"], answer["via"], answer["operator"]) == ("allow", "console", "tester")


def test_a_credential_in_the_arguments_stops_the_call(agent: Agent, gate: Gate, mcp: Mcp) -> None:
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    denied = agent.do(call="read_note", arguments={"title": key})
    assert denied["error"] is True
    assert "secret.aws-access-key at /params/arguments/title" in denied["text"]
    assert mcp.calls == []
    [decision] = gate.decisions(tool="read_note")
    assert (decision["verdict"], decision["rule"], decision["code"]) == (
        "deny", "scan.secrets", "finding",
    )  # fmt: skip
    code, log = gate.stop()
    assert code == 0
    files = [*gate.state.rglob("*.jsonl"), *gate.captures.rglob("*.jsonl")]
    written = [log, *(path.read_text("utf-8", "replace") for path in files)]
    assert len(written) >= 4
    assert not [text for text in written if key in text]


def test_a_result_with_an_injection_waits_and_is_withheld(
    agent: Agent, gate: Gate, mcp: Mcp
) -> None:
    agent.ask(call="read_note", arguments={"title": "shared"})
    entry = gate.wait_pending()
    assert entry["row"]["rule"] == "scan.injection"
    assert gate.command("deny", entry["id"]).returncode == 0
    answer = agent.read()
    assert answer["error"] is True
    assert answer["text"].startswith("The tool has run; its result was withheld.")
    assert "Ignore" not in answer["text"]
    assert mcp.calls == [("read_note", {"title": "shared"})]
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False


def test_egress_passes_by_a_rule_and_by_nothing_else(
    gate: Gate, mcp: Mcp, web: Web, start_agent: StartAgent
) -> None:
    agent = start_agent(gate, mcp.url, "auto")
    allowed = agent.do(get=f"https://{WEB_NAME}:{web.port}/page?q=1")
    assert (allowed["status"], allowed["text"]) == (200, "hello")
    assert [request.split(b"\r\n")[0] for request in web.requests] == [b"GET /page?q=1 HTTP/1.1"]
    before = web.connections
    denied = agent.do(get=f"https://paste.upstream.example:{web.port}/page")
    problem = json.loads(denied["text"])
    assert (denied["status"], problem["code"], problem["rule"]) == (403, "otherwise", "otherwise")
    assert web.connections == before


def test_what_was_captured_replays_and_a_changed_rule_shows(
    gate: Gate, mcp: Mcp, web: Web, start_agent: StartAgent, tmp_path: Path
) -> None:
    for mode in ERAS:
        agent = start_agent(gate, mcp.url, mode)
        agent.do(list=True)
        agent.do(call="read_note", arguments={"title": "x"})
        agent.do(call="read_note", arguments={"title": "AKIA" + "QYLPMN5HHHFPZAM2"})
        agent.do(call="delete_notes", arguments={"force": True})
        agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
        assert gate.command("approve", gate.wait_pending()["id"]).returncode == 0
        agent.read()
        agent.do(get=f"https://{WEB_NAME}:{web.port}/page")
        agent.do(get="https://paste.upstream.example/page")
        agent.close()
    assert gate.stop()[0] == 0

    def replay(policy: Path) -> tuple[int, str]:
        done = mitmgate("replay", str(gate.captures), "--policy", str(policy))
        return done.returncode, done.stdout + done.stderr

    code, text = replay(gate.policy)
    assert code == 0, text
    original = gate.policy.read_text()
    tightened, loosened = tmp_path / "tightened.yaml", tmp_path / "loosened.yaml"
    tightened.write_text(original.replace("tool: read_*\n      then: allow",
                                          "tool: read_*\n      then: deny"))  # fmt: skip
    loosened.write_text(original.replace("then: deny\n      reason", "then: allow\n      reason"))
    assert tightened.read_text() != original != loosened.read_text()
    code, text = replay(tightened)
    assert (code, "reads" in text) == (1, True), text
    code, text = replay(loosened)
    assert (code, "no-mass-delete" in text) == (3, True), text


def test_a_call_that_is_too_large_is_refused_in_words_and_the_session_goes_on(
    gate: Gate, mcp: Mcp, start_agent: StartAgent
) -> None:
    agent = start_agent(gate, mcp.url, "auto")
    refused = agent.do(call="save_note", arguments={"title": "t", "text": "x" * 34_000_000})
    assert "larger than" in refused["text"] or "too large" in refused["text"], refused
    assert mcp.calls == []
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False


def test_the_policy_of_these_tests_is_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("MCP_PORT", "9000"))
    assert mitmgate("check", str(file)).returncode == 0
