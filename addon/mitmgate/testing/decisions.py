"""``assert_decision``: what a policy says of one call or request, as live traffic is judged."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.judge.inputs import AnswerInput, Input, RequestInput, Shown, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.net.authority import normalise_authority
from mitmgate.policy.agents import AgentEntry, AgentTable, hash_token
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource, locked_file
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.engine import Scanner
from mitmgate.serve.replaying import scanner_for
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

__all__ = ["Call", "Egress", "assert_decision", "call", "egress"]

_TOKEN = hash_token("shown by a test")
_JSON: Headers = (("content-type", "application/json"),)
_PORTS: Mapping[str, int] = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Call:
    """An MCP request; ``answer`` is the text that the server gives, which is judged then."""

    method: str
    params: Mapping[str, Any]
    server: str | None = None
    url: str | None = None
    agent: str = "test"
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """An HTTP request that is not MCP."""

    url: str
    method: str = "GET"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    agent: str = "test"


def call(
    tool: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    server: str | None = None,
    url: str | None = None,
    **more: str,
) -> Call:
    """Return a ``tools/call`` of *tool* on *server*, a name in the policy, or at any *url*.

    *more* is ``agent``, its name or address; ``answer``, a text that the server answers and that is
    judged then; and ``method`` for another request: ``prompts/get`` and ``resources/read`` take
    the prompt's name or the URI as *tool*.
    """
    method = more.pop("method", "tools/call")
    params: dict[str, Any] = {"uri" if method.startswith("resources/") else "name": tool}
    if arguments is not None or method == "tools/call":
        params["arguments"] = dict(arguments or {})
    return Call(method, params, server, url, **more)


def egress(
    url: str,
    method: str = "GET",
    *,
    body: bytes | str = b"",
    headers: Mapping[str, str] | None = None,
    agent: str = "test",
) -> Egress:
    """Return an HTTP request for *url*, which begins with ``https://`` or ``http://``."""
    data = body.encode() if isinstance(body, str) else body
    return Egress(url, method, data, dict(headers or {}), agent)


def assert_decision(
    policy: Policy | Path | str,
    request: Call | Egress,
    verdict: Literal["allow", "ask", "deny"] | None = None,
    *,
    rule: str | None = None,
    at: datetime | None = None,
) -> Outcome:
    """Assert what *policy*, or the one in that file, decides of *request*; return all of it.

    *rule* is the id of the rule that decides, or a built-in name such as ``otherwise``. *at* is the
    time for rules that have one (now). AssertionError says what was decided instead; ConfigError,
    that the policy cannot be used or that the request fits no URL of its servers. The rules of the
    scanner are in force, shadow mode is not: the verdict is what the policy wants.
    """
    scanner: Scanner
    if isinstance(policy, Policy):
        rules, scanner = policy, scanner_for(policy)
    else:
        rules, scanner = _read(Path(policy))
    rules = _knowing(rules, request.agent)
    judge = Judge(rules, scanner)
    now = time.time() if at is None else at.timestamp()
    outcome = _judged(judge, _request_of(rules, request), now)
    if isinstance(request, Call) and request.answer is not None:
        if outcome.effective is Verdict.DENY:
            raise AssertionError(f"no answer comes: the call is denied by {outcome.rule}")
        if outcome.effective is Verdict.ASK:
            judge.apply_resolution(replace(outcome, question=None), "allow")
        outcome = _judged(judge, _answer_of(request.answer), now)
    wanted = (verdict or outcome.verdict.word, rule or outcome.rule)
    if (outcome.verdict.word, outcome.rule) != wanted:
        raise AssertionError(_told(*wanted, outcome))
    return outcome


def _judged(judge: Judge, given: Input, now: float) -> Outcome:
    outcome = judge.conclude(judge.prepare(given), now=now)
    if outcome is None:
        raise TypeError("every request and every answer has an outcome")
    return outcome


def _told(verdict: str, rule: str, outcome: Outcome) -> str:
    lines = [
        f"expected {verdict} by {rule}, and it is {outcome.verdict.word} by {outcome.rule}",
        f"reason: {outcome.reason}",
        *(f"found: {one.rule} at {one.pointer or 'the text'}" for one in outcome.findings),
    ]
    return "\n".join(lines)


def _read(path: Path) -> tuple[Policy, Scanner]:
    source = PolicySource(path.absolute(), locked_file(None))
    return _cached(source, source.stamp(()))


@functools.lru_cache(maxsize=8)
def _cached(source: PolicySource, _stamp: object) -> tuple[Policy, Scanner]:
    policy = source.read()[0].policy
    return policy, scanner_for(policy)


def _knowing(policy: Policy, agent: str) -> Policy:
    """Return *policy* with a token for *agent*, where it is one of the policy's."""
    if agent not in policy.agents.names:
        return policy
    groups = tuple(sorted(policy.agents.groups_of(agent)))
    table = AgentTable.of({agent: AgentEntry(tokens=(_TOKEN,), groups=groups)})
    return replace(policy, agents=table)


def _request_of(policy: Policy, request: Call | Egress) -> RequestInput:
    if isinstance(request, Egress):
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        head = _head(request.url, request.method, headers)
        return _sent(policy, request.agent, head, request.body)
    message = {"jsonrpc": "2.0", "id": 1, "method": request.method, "params": request.params}
    head = _head(_url_of(policy, request), "POST", _JSON)
    return _sent(policy, request.agent, head, json.dumps(message).encode())


def _sent(policy: Policy, agent: str, head: RequestHead, body: bytes) -> RequestInput:
    shown = Shown(agent, _TOKEN) if agent in policy.agents.names else None
    tunnel = Tunnel(f"{head.host}:{head.port}", head.host)
    return RequestInput("x", agent, head, head.authority, body, tunnel, shown)


def _answer_of(text: str) -> AnswerInput:
    message = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}
    return AnswerInput("x", AnswerHead(200, _JSON), json.dumps(message).encode())


def _url_of(policy: Policy, request: Call) -> str:
    if request.url is not None:
        return request.url
    known = policy.server_urls.get(request.server or "")
    if known is None:
        named = "no server of the policy" if request.server is None else repr(request.server)
        hint = f"one of {', '.join(policy.server_urls) or 'none'}; or give url="
        raise ConfigError(Problem(f"the call names {named}", key="server", hint=hint))
    host = f"[{known.host}]" if ":" in known.host else known.host
    return f"https://{host}:{max(known.ports)}{known.path or '/'}"


def _head(url: str, method: str, headers: Headers) -> RequestHead:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _PORTS:
        raise ConfigError(
            Problem(f"is no URL: {url!r}", key="url", hint="begin with https:// or http://")
        )
    authority, slash, target = rest.partition("#")[0].partition("/")
    try:
        where = normalise_authority(authority)
    except WireError as error:
        raise ConfigError(Problem(str(error), key="url")) from None
    port = _PORTS[scheme] if where.port is None else where.port
    spoken: Literal["http", "https"] = "https" if scheme == "https" else "http"
    return RequestHead(method, spoken, where.host, port, f"{slash or '/'}{target}", headers)
