"""Headers that have a server do something else than the request line says: refused, or meant alike.

Frameworks that read them take their method for the request's, and some take their path. So the
rules have to allow every request that this may become, by the very rule that allows what is sent.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from mitmgate.errors import WireError
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, refused
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.remembered import remembered_egress
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import budgets_of, decide_egress
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.http import RequestHead

METHOD_HEADERS = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
PATH_HEADERS = frozenset({"x-original-url", "x-rewrite-url"})
CODE = "override_refused"

_TOKEN = frozenset("-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PROTOCOLS = ("websocket", "a2a")
_ADVICE = "send the request with the method and the path that it is to have, and no such header"

type _Named = dict[str, str]


def with_overrides(context: Context, prepared: PreparedRequest, concluded: Concluded) -> Concluded:
    """Return *concluded* on *prepared*, denied where a header makes it a request of other rules."""
    head, before = prepared.input.head, concluded.weighed.decision
    try:
        meant = _requests(head, _named(head))
        if not meant:
            return concluded
        if before.verdict is Verdict.DENY:
            return _floored(concluded, max(_decision(context, one).floor for one in meant))
        _check(context, prepared, meant)
    except WireError as problem:
        if before.verdict is Verdict.DENY:
            return _floored(concluded, Verdict.DENY)
        return Concluded(concluded.subject, Weighed(refused(problem)), concluded.findings)
    return concluded


def _floored(concluded: Concluded, floor: Verdict) -> Concluded:
    """Return *concluded*, which in shadow mode still is what *floor* says, or stricter."""
    decision = concluded.weighed.decision
    decision = replace(decision, floor=max(decision.floor, floor))
    return replace(concluded, weighed=replace(concluded.weighed, decision=decision))


def _named(head: RequestHead) -> _Named:
    """Return the headers that name a method or a path, each with its value."""
    found: _Named = {}
    for name, value in head.headers:
        # CGI and what came after it read a dash and an underscore alike (RFC 3875, 4.1.18).
        plain = name.replace("_", "-")
        if plain not in METHOD_HEADERS and plain not in PATH_HEADERS:
            continue
        if plain in found:
            raise _refused(f"{plain} occurs twice")
        found[plain] = value.strip()
    return found


def _requests(head: RequestHead, named: _Named) -> list[RequestHead]:
    """Return the heads that *head* may become to a server, without itself."""
    if not named:
        return []
    methods, targets = [head.method], [head.target]
    for name, value in named.items():
        if name in METHOD_HEADERS:
            method = value.upper()
            if not method or not _TOKEN.issuperset(method):
                raise _refused(f"{name} holds no method")
            methods.append(method)
        elif not value.startswith("/") or not value.isprintable() or " " in value or "#" in value:
            raise _refused(f"{name} holds no path")
        else:
            targets.append(value)
    made = (replace(head, method=one, target=to) for one, to in product(methods, targets))
    return [one for one in dict.fromkeys(made) if one != head]


def _check(context: Context, prepared: PreparedRequest, meant: list[RequestHead]) -> None:
    """Raise WireError unless the rule that allows *prepared* allows all of *meant*."""
    head = prepared.input.head
    if context.exchange.subject.channel == "mcp":
        raise _refused("no message of MCP has such a header")
    decision = _decision(context, head)
    budgets = budgets_of(context.policy, _call(context, head))
    for one in meant:
        if _is_server(context, one):
            raise _refused("the path that a header names is that of an MCP server")
        other = _decision(context, one)
        alike = (other.verdict, other.rule) == (decision.verdict, decision.rule)
        if not alike or decision.verdict is not Verdict.ALLOW:
            raise _refused("other rules are for what a header makes of this request")
        if budgets_of(context.policy, _call(context, one)) != budgets:
            raise _refused("other limits are for what a header makes of this request")
        given = replace(prepared, input=replace(prepared.input, head=one))
        if remembered_egress(context, other, given)[0].verdict is Verdict.DENY:
            raise _refused("an operator denied what a header makes of this request")


def _is_server(context: Context, head: RequestHead) -> bool:
    memory = context.memory
    endpoint = Endpoint(head.scheme, head.host, head.port, head.path)
    return (
        context.policy.server_for(head.scheme, head.host, head.port, head.path) is not None
        or memory.endpoints.known(endpoint)
        or memory.sessions.channel(endpoint, head.query) is not None
    )


def _decision(context: Context, head: RequestHead) -> Decision:
    return decide_egress(context.policy, _call(context, head))


def _call(context: Context, head: RequestHead) -> EgressCall:
    subject, policy = context.exchange.subject, context.policy
    protocol = subject.protocol if subject.protocol in _PROTOCOLS else None
    groups = policy.agents.groups_of(subject.agent)
    return EgressCall(
        subject.agent, head.host, head.port, head.method, head.path, groups,
        context.memory.now, protocol=protocol or "http",
    )  # fmt: skip


def _refused(why: str) -> WireError:
    return WireError(CODE, f"{why}; {_ADVICE}")
