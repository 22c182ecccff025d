"""OAuth of a named server and agent cards, through real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from harness import MCP_NAME, OTHER_NAME, POLICY, WEB_NAME, Gate, Web

type StartGate = Callable[..., Gate]

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
RESOURCE = "/.well-known/oauth-protected-resource/mcp"
METADATA = "/.well-known/oauth-authorization-server"
CARD_PATH = "/.well-known/agent-card.json"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@dataclass
class Servers(Web):
    """An MCP server, its authorization server and an agent behind one port, told apart by path."""

    documents: dict[str, Any] = field(default_factory=dict)

    @property  # type: ignore[misc]
    def answer(self) -> bytes:
        target = self.requests[-1].split(b" ", 2)[1].decode() if self.requests else "/"
        document = self.documents.get(target.partition("?")[0])
        status = b"200 OK" if document is not None else b"401 Unauthorized"
        body = json.dumps(document or {}).encode()
        return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
            status, len(body), body)  # fmt: skip

    @answer.setter
    def answer(self, _: bytes) -> None:
        """What is answered depends on the request."""


@pytest.fixture
def web_kind() -> type[Web]:
    return Servers


@contextmanager
def browser(gate: Gate) -> Iterator[httpx.Client]:
    with httpx.Client(
        proxy=f"http://127.0.0.1:{gate.port}", verify=gate.ready["ca"], trust_env=False, timeout=30
    ) as client:
        yield client


def policy(web: Web, auth: str = "", rules: str = "") -> str:
    text = POLICY.replace("MCP_PORT", str(web.port)).replace('/mcp"}', f'/mcp"{auth}}}')
    return text.replace("  rules:\n    - {id: docs", f"  rules:\n{rules}    - {{id: docs", 1)


def documents(web: Any) -> tuple[str, str]:
    """Set what the servers answer; return the URLs of the MCP and of the authorization server."""
    mcp, auth = f"https://{MCP_NAME}:{web.port}", f"https://{OTHER_NAME}:{web.port}"
    web.documents = {
        RESOURCE: {"resource": f"{mcp}/mcp", "authorization_servers": [auth]},
        METADATA: {"issuer": auth, "token_endpoint": f"{auth}/oauth/token"},
        "/oauth/token": {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 60},
    }
    return mcp, auth


def test_a_client_gets_its_token_with_no_rule_for_the_host_and_nothing_of_it_is_written(
    web: Any, start_gate: StartGate
) -> None:
    gate = start_gate(policy(web, f", auth: [{OTHER_NAME}]"))
    mcp, auth = documents(web)
    with browser(gate) as client:
        assert client.post(f"{mcp}/mcp", json=CALL).status_code == 401
        assert client.get(f"{mcp}{RESOURCE}").json() == web.documents[RESOURCE]
        assert client.get(f"{auth}{METADATA}").json() == web.documents[METADATA]
        form = {"grant_type": "refresh_token", "refresh_token": TOKEN, "resource": f"{mcp}/mcp"}
        given = client.post(f"{auth}/oauth/token", data=form)
        assert (given.status_code, given.json()) == (200, web.documents["/oauth/token"])
        refused = client.post(f"{auth}/other", json={"a": 1})
        assert (refused.status_code, refused.json()["rule"]) == (403, "otherwise")
    assert TOKEN.encode() in web.requests[-1]
    decisions = gate.decisions(server="notes", channel="egress")
    assert [(one["protocol"], one["tool"]) for one in decisions] == [
        ("oauth", "oauth:metadata"), ("oauth", "oauth:metadata"), ("oauth", "oauth:token")
    ]  # fmt: skip
    code, log = gate.stop()
    assert code == 0
    written = [path.read_text() for path in gate.captures.iterdir()]
    written += [(gate.state / "audit" / "audit.jsonl").read_text(), log]
    assert all(TOKEN not in text for text in written)
    assert any('"incomplete":"oauth"' in text for text in written)


def test_a_host_that_only_the_metadata_names_needs_a_person(
    web: Any, start_gate: StartGate
) -> None:
    gate = start_gate(policy(web).replace("unattended: wait", "unattended: deny"))
    mcp, auth = documents(web)
    with browser(gate) as client:
        client.post(f"{mcp}/mcp", json=CALL)
        client.get(f"{mcp}{RESOURCE}")
        before = len(web.requests)
        refused = client.get(f"{auth}{METADATA}")
        assert (refused.status_code, refused.json()["rule"]) == (403, "auth_host")
        assert len(web.requests) == before


def test_an_agent_card_that_changed_is_not_let_through_even_after_a_restart(
    web: Any, start_gate: StartGate
) -> None:
    rule = f"    - {{id: agents, host: {OTHER_NAME}, protocol: a2a, then: allow}}\n"
    text = policy(web, rules=rule).replace("unattended: wait", "unattended: deny")
    gate = start_gate(text)
    url = f"https://{OTHER_NAME}:{web.port}"
    card = {"name": "helper", "url": f"{url}/a2a", "capabilities": {}, "skills": []}
    web.documents = {CARD_PATH: card, "/a2a": {"jsonrpc": "2.0", "id": 1, "result": {}}}
    sent = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {}}}
    with browser(gate) as client:
        assert client.get(f"{url}{CARD_PATH}").json() == card
        assert client.post(f"{url}/a2a", json=sent).status_code == 200
        assert client.post(f"{url}/a2a", json={"a": 1}).json()["rule"] == "otherwise"
    [decision] = gate.decisions(tool="message/send")
    assert (decision["protocol"], decision["rule"]) == ("a2a", "agents")
    assert gate.stop()[0] == 0
    assert CARD_PATH in (gate.state / "cards.json").read_text()
    web.documents[CARD_PATH] = {**card, "url": f"https://{WEB_NAME}/"}
    again = start_gate(text, "--state-dir", str(gate.state), name="again")
    with browser(again) as client:
        refused = client.get(f"{url}{CARD_PATH}")
        assert (refused.status_code, refused.json()["code"]) == (403, "card_changed")
        web.documents[CARD_PATH] = card
        assert client.get(f"{url}{CARD_PATH}").json() == card
