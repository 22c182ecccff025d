"""The policy on a running proxy: rules with effects, agents with tokens, layers, reloads."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import POLICY, WEB_NAME, Agent, Gate, Mcp, Web

type StartGate = Callable[..., Gate]
type StartAgent = Callable[[Gate, str, str], Agent]

READS = "    - id: reads\n"
both_eras = pytest.mark.parametrize("era", ["legacy", "auto"])
both_forms = pytest.mark.parametrize("mcp", [False, True], ids=["sse", "json"], indirect=True)


def policy_for(mcp: Mcp, *rules: str, more: str = "") -> str:
    """Return the usual policy with *rules* before its own, and *more* at its end."""
    lines = "".join(f"    - {rule}\n" for rule in rules)
    return (
        POLICY.replace("MCP_PORT", str(mcp.port)).replace("  rules:\n", f"  rules:\n{lines}", 1)
        + more
    )


def wait_for_state(gate: Gate, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first state of the proxy that *holds* accepts."""
    transport = httpx.HTTPTransport(uds=str(gate.state / "control.sock"))
    with (
        httpx.Client(transport=transport, base_url="http://gate", timeout=20) as client,
        client.stream("GET", "/v1/events") as events,
    ):
        for line in events.iter_lines():
            state = json.loads(line).get("state")
            if state is not None and holds(state):
                found: dict[str, Any] = state
                return found
    raise AssertionError("the proxy ended")


def reload(gate: Gate) -> dict[str, Any]:
    """Let the proxy read its policy again, and return what it says of it."""
    done = gate.command("policy", "reload", "--json", key=False)
    view: dict[str, Any] = json.loads(done.stdout)
    return view | {"code": done.returncode}


# Effects


@both_eras
def test_an_argument_rule_denies_and_the_agent_reads_why(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent, era: str
) -> None:
    rule = (
        "{id: paths, tool: read_note, where: {/arguments/title: {not: {path_within: /notes}}}, "
        'then: deny, reason: "Only notes below /notes may be read.", severity: high}'
    )
    gate = start_gate(policy_for(mcp, rule))
    agent = start_agent(gate, mcp.url, era)
    for title in ("/notes/../etc/passwd", "notes/x"):
        denied = agent.do(call="read_note", arguments={"title": title})
        assert denied == {"error": True, "text": "Only notes below /notes may be read."}
    assert mcp.calls == []
    assert agent.do(call="read_note", arguments={"title": "/notes/a"})["error"] is False
    decision = gate.decisions(rule="paths")[0]
    assert (decision["code"], decision["severity"]) == ("rule", "high")


@both_forms
@both_eras
def test_a_result_is_redacted(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent, era: str
) -> None:
    rule = (
        "{id: hush, phase: result, tool: read_note, then: allow, "
        "redact: [/content/*/text, /structuredContent/result]}"
    )
    agent = start_agent(start_gate(policy_for(mcp, rule)), mcp.url, era)
    answer = agent.do(call="read_note", arguments={"title": "x"})
    assert answer == {"error": False, "text": "[redacted]"}
    assert mcp.calls == [("read_note", {"title": "x"})]
    plain = start_agent(start_gate(policy_for(mcp), name="control"), mcp.url, era)
    assert "plants" in plain.do(call="read_note", arguments={"title": "x"})["text"]


@both_forms
def test_a_result_rule_withholds_the_result_of_a_call_that_ran(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    rule = "{id: dry, phase: result, where: {/content/0/text: {contains: plants}}, then: deny}"
    agent = start_agent(start_gate(policy_for(mcp, rule)), mcp.url, "auto")
    answer = agent.do(call="read_note", arguments={"title": "x"})
    assert answer["error"] is True
    assert answer["text"].startswith("The tool has run; its result was withheld.")
    assert mcp.calls == [("read_note", {"title": "x"})]


def test_an_argument_is_redacted_before_it_goes_on(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    rule = "{id: anonymous, tool: read_note, then: allow, redact: /arguments/title}"
    agent = start_agent(start_gate(policy_for(mcp, rule)), mcp.url, "auto")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    assert mcp.calls == [("read_note", {"title": "[redacted]"})]


def test_a_rule_in_shadow_mode_stops_nothing_and_is_told_of(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    rule = "{id: soon, tool: read_note, then: deny, mode: shadow}"
    gate = start_gate(policy_for(mcp, rule))
    agent = start_agent(gate, mcp.url, "auto")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    [decision] = gate.decisions(tool="read_note", kind="request")
    assert (decision["rule"], decision["shadow"]) == ("reads", {"rule": "soon", "verdict": "deny"})
    assert "(shadow: deny by soon)" in gate.stop()[1]


def test_a_rule_goes_by_what_the_server_says_of_the_tool(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    # The server gives no annotations, so its tools are destructive by default.
    rule = "{id: risky, tool: read_*, annotations: {destructiveHint: true}, then: deny}"
    gate = start_gate(policy_for(mcp, rule))
    agent = start_agent(gate, mcp.url, "auto")
    agent.do(list=True)
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is True
    assert mcp.calls == []
    control = start_gate(policy_for(mcp, rule.replace("true", "false")), name="control")
    agent = start_agent(control, mcp.url, "auto")
    agent.do(list=True)
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False


def test_the_locked_layer_is_stricter_than_the_policy(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text("version: 1\nmcp: {rules: [{id: floor, tool: read_note, then: deny}]}\n")
    gate = start_gate(policy_for(mcp), "--locked", str(locked), "--shadow")
    agent = start_agent(gate, mcp.url, "auto")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is True
    assert mcp.calls == []
    assert gate.decisions(rule="floor")[0]["code"] == "locked"


# Agents


def with_credentials(gate: Gate, credentials: str) -> dict[str, str]:
    environment = gate.agent_environment
    return {
        name: value.replace("http://127.0.0.1", f"http://{credentials}@127.0.0.1")
        for name, value in environment.items()
    }


def test_agents_are_known_by_their_tokens_and_stop_when_these_are_revoked(
    mcp: Mcp, start_gate: StartGate
) -> None:
    rule = "{id: ci-only, agent: ci, tool: save_note, then: allow}"
    gate = start_gate(policy_for(mcp, rule))
    added = gate.command("agent", "add", "ci", "--group", "bots", "--policy", str(gate.policy))
    assert added.returncode == 0, added.stderr
    token = next(word for word in added.stdout.replace("@", ":").split(":") if word[:3] == "mg_")
    view = reload(gate)
    assert (view["result"], view["view"]["changes"][0]) == ("waiting", "agent ci is new")
    assert gate.command("policy", "confirm").returncode == 0
    agent = Agent(mcp.url, "auto", with_credentials(gate, f"ci:{token}"))
    try:
        done = agent.do(call="save_note", arguments={"title": "t", "text": "b"})
        assert done["error"] is False
        [decision] = gate.decisions(tool="save_note", kind="request")
        assert (decision["agent"], decision["rule"]) == ("ci", "ci-only")
        assert gate.command("agent", "revoke", "ci", "--all", "--policy",
                            str(gate.policy)).returncode == 0  # fmt: skip
        view = reload(gate)
        if view["result"] == "waiting":
            assert gate.command("policy", "confirm", view["view"]["waiting"]).returncode == 0
        denied = agent.do(call="save_note", arguments={"title": "t", "text": "b"})
        assert denied["error"] is True
        assert "does not know these credentials" in denied["text"]
        assert len(mcp.calls) == 1
    finally:
        agent.close()
    assert token not in (gate.state / "audit" / "audit.jsonl").read_text()
    assert token not in gate.policy.read_text()
    assert all(token not in path.read_text() for path in gate.captures.iterdir())


@pytest.mark.parametrize("credentials", [None, "ci:wrong", "nobody:mg_x"])
def test_who_shows_no_good_credentials_is_refused_where_they_are_required(
    web: Web, start_gate: StartGate, credentials: str | None
) -> None:
    policy = POLICY.replace("MCP_PORT", "9").replace(
        "network:\n", "network:\n  require_agents: true\n"
    )
    gate = start_gate(policy + "agents: {ci: {tokens: []}}\n")
    where = f"http://{credentials + '@' if credentials else ''}127.0.0.1:{gate.port}"
    with httpx.Client(proxy=where, trust_env=False, timeout=20) as client:
        with pytest.raises(httpx.ProxyError, match="407"):
            client.get(f"https://{WEB_NAME}:{web.port}/")
        plain = client.get(f"http://{WEB_NAME}:{web.port}/")
    assert plain.status_code == 407
    assert plain.headers["proxy-authenticate"].startswith("Basic")
    assert web.connections == 0


# Reload


def test_a_broken_file_changes_nothing_and_says_so(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    text = policy_for(mcp)
    gate = start_gate(text)
    agent = start_agent(gate, mcp.url, "auto")
    before = gate.ready["policy"]
    gate.policy.write_text(text.replace("then: allow", "than: allow"))
    view = reload(gate)
    assert (view["code"], view["result"], view["view"]["policy"]) == (1, "refused", before)
    assert "policy.yaml:14: mcp.rules.1.then: this key is missing" in view["view"]["problem"]
    state = wait_for_state(gate, lambda state: state["policy_trouble"] is not None)
    assert state["policy"] == before
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    gate.policy.write_text(text)
    assert reload(gate)["result"] == "unchanged"
    told = [one for one in gate.audit() if one["type"] == "policy"]
    assert {(one["result"], one["before"]) for one in told} == {("refused", before)}
    assert "trouble  the policy cannot be loaded" in gate.stop()[1]


def test_a_change_that_tightens_counts_at_once(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    text = policy_for(mcp)
    gate = start_gate(text)
    agent = start_agent(gate, mcp.url, "auto")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    gate.policy.write_text(text.replace(READS, f"    - {{id: nope, then: deny}}\n{READS}"))
    state = wait_for_state(gate, lambda state: state["policy"] != gate.ready["policy"])
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is True
    assert len(mcp.calls) == 1
    assert gate.decisions(rule="nope")[0]["policy"] == state["policy"]


def test_a_change_that_loosens_waits_for_an_operator(
    mcp: Mcp, start_gate: StartGate, start_agent: StartAgent
) -> None:
    text = policy_for(mcp)
    gate = start_gate(text)
    agent = start_agent(gate, mcp.url, "auto")
    gate.policy.write_text(text.replace("tool: read_*", "tool: [read_*, save_*]"))
    os.kill(gate.process.pid, signal.SIGHUP)
    state = wait_for_state(gate, lambda state: state["policy_trouble"] is not None)
    assert state["policy"] == gate.ready["policy"]
    agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
    held = gate.wait_pending()
    assert gate.command("deny", held["id"]).returncode == 0
    assert agent.read()["error"] is True
    assert gate.command("policy", "confirm", key=False).returncode == 2
    shown = gate.command("policy", "show", key=False)
    assert "loosens: " in shown.stdout
    assert gate.command("policy", "confirm").returncode == 0
    assert agent.do(call="save_note", arguments={"title": "t", "text": "b"})["error"] is False
    results = [one["result"] for one in gate.audit() if one["type"] == "policy"]
    assert results == ["waiting", "applied"]


def test_where_reloads_are_trusted_nobody_is_asked(mcp: Mcp, start_gate: StartGate) -> None:
    text = policy_for(mcp)
    gate = start_gate(text, "--trust-reload")
    gate.policy.write_text(text.replace("otherwise: ask", "otherwise: allow"))
    assert reload(gate)["result"] in ("applied", "unchanged")
    assert reload(gate)["view"]["policy"] != gate.ready["policy"]
