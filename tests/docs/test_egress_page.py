"""The page on egress: each code with its status, as the program gives them, and its samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from judging import KEY, decide, make_judge, request

from mitmgate.judge.inputs import ConnectInput, DialInput, Input, RequestInput, Tunnel
from mitmgate.judge.replies import CODES, Told
from mitmgate.policy.load import load_policy
from mitmgate.wire.http import Headers

PAGE = Path(__file__).parents[2] / "docs" / "egress.md"
ROWS = {
    cells[0].strip("`"): Told(int(cells[1]), retry=cells[2] == "yes")
    for line in PAGE.read_text().splitlines()
    if line.startswith("| `")
    and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
}
RULES = """egress:
  rules:
    - {id: no-delete, host: docs.example, methods: DELETE, then: deny}
    - {id: small, host: small.example, then: allow, max_request: 10B}
    - {id: few, host: few.example, then: allow, max_session: 10B}
    - {id: never, host: no.example, then: deny}
"""
SOCKET: Headers = (("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))


def get(host: str = "docs.example", target: str = "/", *headers: tuple[str, str]) -> RequestInput:
    return request("GET", host, target, headers=headers)


def post(body: bytes, host: str = "docs.example", *headers: tuple[str, str]) -> RequestInput:
    return request("POST", host, "/", body, headers)


def dial(*addresses: str, own: tuple[tuple[str, int], ...] = ()) -> DialInput:
    return DialInput("x", "agent", "docs.example", 443, addresses, own=own)


GIVEN: dict[str, Input] = {
    "rule": get("no.example"),
    "otherwise": get("evil.example"),
    "port": ConnectInput("x", "agent", "docs.example:22"),
    "finding": post(KEY.encode()),
    "websocket_refused": get("docs.example", "/", *SOCKET),
    "upgrade_refused": get("docs.example", "/", ("upgrade", "h2c")),
    "dns_over_https": get("docs.example", "/", ("accept", "application/dns-message")),
    "override_refused": get("docs.example", "/", ("x-http-method-override", "DELETE")),
    "session_budget": get("few.example"),
    "request_too_large": post(b"x" * 11, "small.example"),
    "malformed_request": get("docs.example", "/a b"),
    "malformed_multipart": post(b"x", "docs.example", ("content-type", "multipart/mixed")),
    "bad_authority": RequestInput("x", "agent", get().head, "0x7f.1", b"", Tunnel()),
    "ambiguous_message": post(b'{"Jsonrpc": "2.0", "id": 1, "method": "tools/call"}'),
    "unknown_encoding": post(b"x", "docs.example", ("content-encoding", "rot13")),
    "bad_encoding": post(b"x", "docs.example", ("content-encoding", "gzip")),
    "host_mismatch": RequestInput("x", "agent", get().head, "other.example", b"", Tunnel()),
    "private_address": dial("10.0.0.1"),
    "own_address": dial("203.0.114.1", own=(("203.0.114.1", 443),)),
    "unresolvable": dial(),
}
FAILURES = {
    "body_too_large", "head_too_large", "not_http", "request_timeout", "upstream_failed",
    "upstream_certificate", "upstream_proxy_failed", "internal_error", "malformed_answer",
    "nested_connect",
    "ambiguous_delegation", "cannot_edit", "card_changed",
}  # fmt: skip
ELSEWHERE = {"locked", "agent_required", "agent_refused"}
"""These need files: the tests of the locked layer and of agents look at them."""


def test_every_code_with_a_status_of_its_own_is_on_the_page() -> None:
    assert CODES.keys() - ROWS.keys() == set()


@pytest.mark.parametrize(("code", "told"), ROWS.items(), ids=ROWS)
def test_a_row(code: str, told: Told) -> None:
    assert CODES.get(code, Told()) == told


def test_every_row_is_tried() -> None:
    assert ROWS.keys() == GIVEN.keys() | FAILURES | ELSEWHERE


@pytest.mark.parametrize(("code", "given"), GIVEN.items(), ids=GIVEN)
def test_a_client_is_told(code: str, given: Input) -> None:
    judge = make_judge(("egress:\n  rules:\n", RULES))
    outcome = decide(judge, given)
    assert (outcome.verdict.word, outcome.code) == ("deny", code)
    reply = judge.reply(outcome, "why")
    document = json.loads(reply.body)
    assert (reply.status, document["status"]) == (ROWS[code].status, ROWS[code].status)
    assert (document["code"], document["retry"]) == (code, ROWS[code].retry)
    assert (document["rule"], document["host"]) == (outcome.rule, outcome.subject.host)


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_a_failure_is_told(code: str) -> None:
    judge = make_judge()
    reply = judge.reply(judge.failure("x", "request", code, "it broke"), "why")
    assert (reply.status, json.loads(reply.body)["retry"]) == (ROWS[code].status, ROWS[code].retry)


def test_a_call_that_nobody_approved_is_told_to_ask_first() -> None:
    judge = make_judge()
    outcome = decide(judge, get("paste.example"))
    document = json.loads(judge.reply(outcome, "nobody approved this").body)
    assert (document["retry"], "approval" in document["advice"]) == (False, True)


def _blocks(kind: str) -> list[str]:
    return [block.partition("```")[0] for block in PAGE.read_text().split(f"```{kind}\n")[1:]]


LOADERS: dict[str, Callable[[str], object]] = {
    "yaml": lambda text: load_policy(text, file="egress.md"),
    "json": json.loads,
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_samples_of_the_page_are_read(kind: str) -> None:
    assert [LOADERS[kind](block) for block in _blocks(kind)]


def test_the_answer_on_the_page_has_the_members_that_are_sent() -> None:
    judge = make_judge()
    outcome = decide(judge, get("evil.example"))
    sent = json.loads(judge.reply(outcome, outcome.agent_reason).body)
    shown = json.loads(_blocks("json")[0])
    assert list(shown) == list(sent)
    members = ("title", "status", "detail", "code", "retry", "advice")
    assert {name: shown[name] for name in members} == {name: sent[name] for name in members}
