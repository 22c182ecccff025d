"""An agent's process, under the same user, decides nothing and reads no arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import POLICY, Agent, Gate, Mcp

SECRET_NOTE = {"title": "t", "text": "words-that-only-the-operator-may-read"}

# Runs with the agent's environment only. Prints one JSON object of what it got.
INTRUDER = r"""
import json, os, signal, sys
from pathlib import Path
import httpx

state, pid, entry, policy = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
words = set()

def harvest(data):
    for word in data.replace(b"\0", b" ").replace(b'"', b" ").replace(b"=", b" ").split():
        if 16 <= len(word) <= 200:
            try:
                words.add(word.decode("ascii"))
            except UnicodeDecodeError:
                pass

seen = b""
for path in sorted(state.rglob("*")):
    if path.is_file() and not path.is_symlink():
        try:
            data = path.read_bytes()
        except OSError:
            continue
        seen += data
        harvest(data)
for name in ("cmdline", "environ"):
    try:
        data = Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        continue
    seen += data
    harvest(data)

transport = httpx.HTTPTransport(uds=str(state / "control.sock"))
client = httpx.Client(transport=transport, base_url="http://gate", timeout=20)
described = client.get("/v1/openapi.json").json()
keys = [None, "null", "operator", *sorted(words)[:150]]
got, shown = [], []
for key in keys:
    headers = {} if key is None else {"authorization": "Bearer " + key}
    for path, methods in described["paths"].items():
        if path in ("/v1/events", "/v1/metrics", "/v1/openapi.json"):
            continue
        for method in methods:
            if key is not None and "security" not in methods[method] and path != "/v1/pending":
                continue
            url = path.replace("{id}", entry)
            body = {"decision": "allow", "on": False, "policy": "x"}
            if path == "/v1/pending/{id}":
                body = {"decision": "allow"}
            elif path == "/v1/switch":
                body = {"on": False}
            elif path == "/v1/undo":
                body = {}
            if path == "/v1/policy/reload" and key is not None:
                continue
            answer = client.request(method.upper(), url, headers=headers,
                                    json=body if method == "post" else None)
            shown.append(answer.text)
            if "security" in methods[method] and answer.status_code != 403:
                got.append([method, path, answer.status_code])
with client.stream("GET", "/v1/events") as events:
    shown.append(next(events.iter_lines()))
print(json.dumps({"got": got, "shown": shown, "seen": seen.decode("latin-1"),
                  "tried": len(keys), "paths": len(described["paths"])}))
"""


def intrude(gate: Gate, entry: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", INTRUDER, str(gate.state), str(gate.process.pid), entry,
         str(gate.policy)],
        capture_output=True, text=True, timeout=120, check=False, env=gate.agent_environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def control(gate: Gate, *, key: bool) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(gate.state / "control.sock"))
    headers = {"authorization": f"Bearer {gate.ready['operator_key']}"} if key else {}
    return httpx.Client(transport=transport, base_url="http://gate", headers=headers, timeout=20)


def test_nothing_that_it_finds_opens_anything(
    start_gate: Callable[..., Gate],
    mcp: Mcp,
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(mcp.port)))
    agent = start_agent(gate, mcp.url, "auto")
    agent.ask(call="save_note", arguments=SECRET_NOTE)
    entry = gate.wait_pending()
    found = intrude(gate, entry["id"])
    assert found["got"] == []
    assert found["tried"] > 3
    assert found["paths"] > 10
    assert gate.ready["operator_key"] not in found["seen"]
    told = "\n".join(found["shown"])
    assert SECRET_NOTE["text"] not in told
    assert entry["id"] in told, "the control: it saw the call itself"
    assert mcp.calls == []

    with control(gate, key=True) as operator:  # the control: the key does it
        detail = operator.get(f"/v1/rows/{entry['id']}").json()
        assert SECRET_NOTE["text"] in json.dumps(detail["request"])
        allowed = operator.post(f"/v1/pending/{entry['id']}", json={"decision": "allow"})
        assert allowed.json()["released"] == 1
    assert agent.read()["error"] is False
    assert mcp.calls == [("save_note", SECRET_NOTE)]


LAXER = {
    "policy.yaml": lambda gate: gate.policy.write_text(
        gate.policy.read_text().replace("otherwise: ask", "otherwise: allow")),
    "remembered.yaml": lambda gate: (gate.state / "remembered.yaml").write_text(
        "version: 1\nmcp:\n  rules:\n"
        "    - {id: mine, server: notes, tool: save_note, then: allow}\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", LAXER.values(), ids=LAXER)
def test_rules_that_it_writes_wait_for_an_operator(
    edit: Callable[[Gate], object],
    start_gate: Callable[..., Gate],
    mcp: Mcp,
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(mcp.port)))
    edit(gate)
    with control(gate, key=False) as anybody:
        reloaded = anybody.post("/v1/policy/reload").json()
        assert reloaded["result"] in ("waiting", "refused", "unchanged")
        waiting = reloaded["view"]["waiting"]
        refused = anybody.post("/v1/policy/confirm", json={"policy": waiting or "x"})
        assert refused.status_code == 403
    agent = start_agent(gate, mcp.url, "auto")
    agent.ask(call="save_note", arguments=SECRET_NOTE)
    held = gate.wait_pending()
    assert held["row"]["tool"] == "save_note"
    assert mcp.calls == []
    with control(gate, key=True) as operator:
        operator.post(f"/v1/pending/{held['id']}", json={"decision": "deny"})
    assert agent.read()["error"] is True


def test_it_can_turn_the_kill_switch_on_and_not_off(
    start_gate: Callable[..., Gate],
    mcp: Mcp,
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(mcp.port)))
    agent = start_agent(gate, mcp.url, "auto")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "os.kill(int(sys.argv[1]), signal.SIGUSR1)\n"
        "halt = Path(sys.argv[2])\n"
        "while not halt.exists(): pass\n"
        "halt.unlink()\n"
        "os.kill(int(sys.argv[1]), signal.SIGUSR1)\n"
        "while not halt.exists(): pass\n"
    )
    subprocess.run([sys.executable, "-c", code, str(gate.process.pid), str(gate.state / "halt")],
                   check=True, timeout=60, env=gate.agent_environment)  # fmt: skip
    with control(gate, key=False) as anybody:
        assert anybody.get("/v1/switch").json()["on"] is True
        assert anybody.post("/v1/switch", json={"on": False}).status_code == 403
    denied = agent.do(call="read_note", arguments={"title": "none"})
    assert "the operator has stopped everything" in json.dumps(denied)
    assert mcp.calls == []
    assert Path(gate.state / "halt").exists()
