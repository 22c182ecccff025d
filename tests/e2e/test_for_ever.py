"""An answer for ever: shown and confirmed in the shell, kept in a file, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Agent, Gate, Mcp

NOTE = {"title": "t", "text": "4711-private"}


def asked(agent: Agent, gate: Gate, arguments: dict[str, Any]) -> str:
    agent.ask(call="save_note", arguments=arguments)
    entry: str = gate.wait_pending()["id"]
    return entry


def test_an_answer_for_ever_is_shown_saved_and_taken_back(
    gate: Gate, mcp: Mcp, start_agent: Callable[[Gate, str, str], Agent]
) -> None:
    agent = start_agent(gate, mcp.url, "auto")
    entry = asked(agent, gate, NOTE)
    file = gate.state / "remembered.yaml"

    shown = gate.command("approve", entry, "--for", "ever", "--on", "tool")
    assert shown.returncode != 0  # nobody said yes
    assert "+++ b/remembered.yaml" in shown.stdout
    assert "tool: save_note" in shown.stdout
    assert (mcp.calls, file.exists()) == ([], False)

    done = gate.command("approve", entry, "--for", "ever", "--on", "tool", "--yes")
    assert (done.returncode, "remembered as ever-allow-save-note" in done.stdout) == (0, True), (
        done.stderr
    )
    assert agent.read()["error"] is False
    assert agent.do(call="save_note", arguments={"title": "u", "text": "x"})["error"] is False
    assert len(mcp.calls) == 2
    assert "4711" not in file.read_text()
    assert "ever-allow-save-note  rule: approved by " in gate.command("grants").stdout

    undone = gate.command("undo", "ever-allow-save-note")
    assert undone.stdout.startswith("undone: ever-allow-save-note  rule: "), undone.stderr
    entry = asked(agent, gate, {"title": "v", "text": "x"})
    assert gate.command("deny", entry, "--for", "ever", "--on", "values", "--same", "title",
               "--reason", "no v", "--yes").returncode == 0  # fmt: skip
    assert "no v" in agent.read()["text"]
    denied = agent.do(call="save_note", arguments={"title": "v", "text": "another"})
    assert (denied["error"], denied["text"]) == (True, "The operator denied this: no v")
    assert len(mcp.calls) == 2
    agent.close()
    [made, taken, other] = [
        (record["event"], record["kind"], record["answer"])
        for record in gate.audit()
        if record["type"] == "grant"
    ]
    assert (made, taken, other) == (
        ("made", "rule", "allow"), ("undone", "rule", "allow"), ("made", "rule", "deny"),
    )  # fmt: skip


def test_without_the_key_there_is_no_preview(
    gate: Gate, mcp: Mcp, start_agent: Callable[[Gate, str, str], Agent]
) -> None:
    agent = start_agent(gate, mcp.url, "auto")
    entry = asked(agent, gate, NOTE)
    refused = gate.command("approve", entry, "--for", "ever", "--on", "tool", "--yes", key=False)
    assert refused.returncode == 2
    assert not (gate.state / "remembered.yaml").exists()
    assert mcp.calls == []
    assert gate.command("deny", entry).returncode == 0
    assert agent.read()["error"] is True
    agent.close()
