"""A model API that is told to call an MCP server: real sockets, and what arrives there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from harness import POLICY, WEB_NAME, Gate, Web

type StartGate = Callable[..., Gate]

SERVER = "https://mcp.upstream.example:9/mcp"
TOOL = {"type": "mcp", "server_label": "notes", "server_url": SERVER}
BODY: dict[str, Any] = {"model": "m", "input": "hi", "tools": [TOOL, {"type": "web_search"}],
                        "tool_choice": {"type": "mcp", "server_label": "notes"}}  # fmt: skip
RULES = "mcp:\n  rules:\n"


def policy(*, says: str = "ask", rule: str = "") -> str:
    text = POLICY.replace("MCP_PORT", "9").replace(RULES, f"mcp:\n  delegated: {says}\n  rules:\n")
    return text.replace("  rules:\n    - id: no-mass", f"  rules:\n{rule}    - id: no-mass", 1)


@contextmanager
def api(gate: Gate, web: Web) -> Iterator[Callable[[Any], httpx.Response]]:
    """Give a function that posts JSON to the model API."""
    with httpx.Client(
        proxy=f"http://127.0.0.1:{gate.port}", verify=gate.ready["ca"], trust_env=False, timeout=30
    ) as client:
        url = f"https://{WEB_NAME}:{web.port}/v1/responses"
        yield lambda body: client.post(url, json=body)


def arrived(web: Web) -> Any:
    return json.loads(web.requests[-1].partition(b"\r\n\r\n")[2])


ALLOWED = "    - {id: hand, server: notes, method: delegate, then: allow}\n"


@pytest.mark.parametrize(("says", "rule"), [("deny", ALLOWED), ("allow", "")], ids=["rule", "key"])
def test_an_allowed_server_goes_on_as_it_is(
    says: str, rule: str, web: Web, start_gate: StartGate
) -> None:
    gate = start_gate(policy(says=says, rule=rule))
    with api(gate, web) as post:
        assert post(BODY).status_code == 200
    assert arrived(web) == BODY


def test_a_denied_server_reaches_nobody(web: Web, start_gate: StartGate) -> None:
    gate = start_gate(policy(says="deny"))
    with api(gate, web) as post:
        refused = post(BODY)
        assert (refused.status_code, refused.json()["rule"]) == (403, "delegated")
        assert (web.requests, web.connections) == ([], 0)
        assert post({**BODY, "tools": [], "tool_choice": "auto"}).status_code == 200
    [decision] = gate.decisions(rule="delegated")
    assert (decision["server"], decision["tool"]) == ("notes", "delegate:notes")
    assert (decision["channel"], decision["method"]) == ("egress", "POST")


def test_a_stripped_server_is_not_in_what_arrives(web: Web, start_gate: StartGate) -> None:
    gate = start_gate(policy(says="strip"))
    with api(gate, web) as post:
        assert post(BODY).status_code == 200
    assert arrived(web) == {"model": "m", "input": "hi", "tools": [{"type": "web_search"}]}
    shown = json.loads(gate.command("servers", "--json", key=False).stdout)["servers"]
    assert [(one["url"], one["server"], one["transports"]) for one in shown] == [
        (SERVER, "notes", ["delegated"])
    ]


def test_a_person_is_asked_once(web: Web, start_gate: StartGate, run_in_thread: Any) -> None:
    gate = start_gate(policy())
    with api(gate, web) as post:
        answer = run_in_thread(lambda: post(BODY).status_code)
        pending = gate.wait_pending()
        assert pending["row"]["tool"] == "delegate:notes"
        assert web.requests == []
        assert gate.command("approve", pending["id"]).returncode == 0
        assert answer() == 200
        assert post(BODY).status_code == 200
    assert arrived(web) == BODY


@pytest.fixture
def run_in_thread() -> Iterator[Callable[[Callable[[], Any]], Callable[[], Any]]]:
    """Start work in a thread; what is given back waits for its result."""
    with ThreadPoolExecutor(1) as threads:

        def start(work: Callable[[], Any]) -> Callable[[], Any]:
            future = threads.submit(work)
            return lambda: future.result(30)

        yield start
