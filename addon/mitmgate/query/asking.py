"""What a policy would say of a recorded decision, where what was not kept is assumed.

An audit record has the target, the circumstances and the findings of what was decided, and no
arguments, headers or bodies.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from mitmgate.judge.authorization import PROTOCOL as OAUTH
from mitmgate.judge.delegations import METHOD as DELEGATED
from mitmgate.judge.effects import ALLOWED, cannot_wait, weigh
from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import decide_unknown, strictest
from mitmgate.policy.egress import connect_denied, is_usual_port, uninspected
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.unsure import (
    KeptCall,
    KeptRequest,
    Unknowns,
    decision_on,
    egress_decision_on,
    egress_rules_on,
    result_decision_on,
)
from mitmgate.policy.unsure_settings import Standing
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.query.changes import Side
from mitmgate.query.rows import Row
from mitmgate.wire.edit import Change as Edit
from mitmgate.wire.methods import is_housekeeping

_OWN_METHODS: Final = frozenset({"stream", "session/end", "websocket", "response"})
_SERVERS: Final = ("sampling/createMessage", "elicitation/create", "roots/list")
_ASKING_SINCE: Final = "2025-11-25"
"""From this revision on a result may itself ask the client for something."""
_NOTIFIED: Final = "notifications/"
_ENFORCED: Final = frozenset({"locked", "locked_hidden", "ambiguous_key"})
_METADATA: Final = "/.well-known/"
_DNS: Final = "dns_over_https"
_AUTHORIZED: Final = "server-auth"


@dataclass(frozen=True, slots=True)
class Asked:
    """A *policy* that is asked about *row*, and the *server* that it takes the endpoint for.

    ``server`` is None where it has no name for it. ``standing`` says whom it takes the agent for.
    """

    policy: Policy
    row: Row
    server: str | None
    standing: Standing = "known"


def side_of(asked: Asked, unknowns: Unknowns) -> Side | None:
    """Return what the policy says where *unknowns* are so; None: nothing kept tells."""
    row, policy, standing = asked.row, asked.policy, asked.standing
    if standing in ("agent_required", "agent_refused"):
        return Side(Verdict.DENY, standing, (), Verdict.DENY)
    if standing == "other":
        return None
    if row.kind == "connect":
        return _tunnel(policy, row)
    decision = _decision(asked, unknowns)
    if decision is None:
        return None
    decision = _remembered(row, decision)
    weighed = weigh(policy, decision, row.findings, row.subject)
    decision = weighed.decision
    if decision.verdict is Verdict.ASK and _cannot_wait(row):
        decision = cannot_wait(decision)
    if policy.mode == "shadow" and decision.code not in _ENFORCED:
        return Side(decision.floor, decision.rule, _edits(weighed.floor_edits), decision.verdict)
    edits = () if decision.verdict is Verdict.DENY else _edits(weighed.edits)
    return Side(decision.verdict, decision.rule, edits, decision.verdict)


def _decision(asked: Asked, unknowns: Unknowns) -> Decision | None:
    row, subject = asked.row, asked.row.subject
    if subject.channel == "egress":
        if row.kind in ("answer", "event"):
            return ALLOWED
        return _egress(asked, unknowns)
    if subject.method == "batch":
        return None  # its messages have no records of their own
    if row.kind in ("answer", "event") or row.code == "answer":
        return _from_server(asked, unknowns)
    return _from_client(asked, unknowns)


def _from_client(asked: Asked, unknowns: Unknowns) -> Decision:
    if asked.server is None:
        question = ("question", asked.row.subject.agent, asked.row.subject.endpoint)
        said = unknowns.one_of(question, (None, "allow", "deny"))
        decision = decide_unknown(asked.policy, asked.row.subject.endpoint)
        if said == "deny":
            return replace(decision, verdict=Verdict.DENY)
        if decision.verdict is not Verdict.ALLOW and (
            said is None or decision.verdict is Verdict.DENY
        ):
            return decision
    return decision_on(asked.policy, _call(asked, asked.row.subject.method), unknowns)


def _from_server(asked: Asked, unknowns: Unknowns) -> Decision:
    method, version = asked.row.subject.method, asked.row.subject.protocol_version
    if method in _SERVERS or method.startswith(_NOTIFIED):
        return decision_on(asked.policy, _call(asked, method), unknowns)
    decision = result_decision_on(asked.policy, _call(asked, method), unknowns) or ALLOWED
    if version is None or version >= _ASKING_SINCE:
        inside = unknowns.one_of("asked inside", (None, *_SERVERS))
        if inside is not None:
            call = replace(_call(asked, inside), exact=True)
            call = replace(call, call=replace(call.call, tool=None))
            wants = decision_on(asked.policy, call, unknowns)
            if wants.verdict is not Verdict.ALLOW:
                decision = strictest(decision, replace(wants, redact=(), effects={}))
    return decision


def _call(asked: Asked, method: str) -> KeptCall:
    row, subject = asked.row, asked.row.subject
    keeping = method in _OWN_METHODS or method.startswith(_NOTIFIED)
    call = Call(
        agent=subject.agent,
        server=asked.server,
        method=method,
        tool=subject.tool,
        housekeeping=keeping or is_housekeeping(method),
        groups=asked.policy.agents.groups_of(subject.agent),
        revision=subject.protocol_version,
        now=row.at,
    )
    return KeptCall(call, exact=row.names_tool)


def _egress(asked: Asked, unknowns: Unknowns) -> Decision:
    row, policy = asked.row, asked.policy
    kept = _request(asked)
    call = kept.call
    decision = connect_denied(policy, call.host, call.port)
    decision = decision or egress_decision_on(policy, kept, unknowns)
    if _is_metadata(policy, row, decision) and unknowns.holds("plain metadata"):
        decision = replace(decision, verdict=Verdict.ALLOW, rule="server-metadata",
                           code="housekeeping")  # fmt: skip
    decision = _authorization(asked, decision, unknowns)
    if decision.verdict is Verdict.DENY:
        return decision
    own, floor = egress_rules_on(policy, kept, unknowns)
    opens = own or floor
    if call.protocol == "websocket" and (own is None or own.websocket is None):
        return _denied(decision, "websocket_refused")
    if _asks_dns(row) and not (opens and opens.dns):
        return _denied(decision, _DNS)
    for rule, layer in ((floor, policy.locked_egress), (own, policy.egress_rules)):
        if rule is not None and _is_spent(rule, layer, unknowns):
            return _denied(replace(decision, rule=rule.id), "session_budget")
    return decision


def _request(asked: Asked) -> KeptRequest:
    row, policy, subject = asked.row, asked.policy, asked.row.subject
    groups = policy.agents.groups_of(subject.agent)
    call = EgressCall(
        subject.agent, subject.host, subject.port, subject.method, row.path or "/", groups,
        row.at, protocol=_protocol(row),
    )  # fmt: skip
    return KeptRequest(call, exact=row.path is not None)


def _protocol(row: Row) -> str:
    spoken = row.subject.protocol
    return "http" if spoken is None or spoken == OAUTH else spoken


def _is_undecided(decision: Decision) -> bool:
    last = (decision.rule, decision.code) == ("otherwise", "otherwise")
    return last and decision.verdict is not Verdict.ALLOW


def _authorization(asked: Asked, decision: Decision, unknowns: Unknowns) -> Decision:
    """Return *decision* where no rule made it and this is, or may be, OAuth of a server."""
    row, policy = asked.row, asked.policy
    if not _is_undecided(decision):
        return decision
    if is_oauth(row):  # whose it is: see WhatIf
        return replace(decision, verdict=row.verdict, rule=row.rule, code=row.code)
    host, port = row.subject.host, row.subject.port
    there = row.scheme == "https" and any(one.matches(host) for one in policy.auth_hosts.values())
    if (there or policy.serves_origin(host, port)) and unknowns.holds("authorization"):
        return replace(decision, verdict=Verdict.ALLOW, rule=_AUTHORIZED, code="housekeeping")
    return decision


def is_oauth(row: Row) -> bool:
    """Tell whether *row* was decided as OAuth of a server, and by no rule."""
    return row.rule in (_AUTHORIZED, "auth_host")


def is_delegated(row: Row) -> bool:
    """Tell whether *row* hands MCP servers over to a model API."""
    return (row.subject.tool or "").startswith(f"{DELEGATED}:")


def _is_metadata(policy: Policy, row: Row, decision: Decision) -> bool:
    return (
        _is_undecided(decision)
        and row.subject.method in ("GET", "HEAD", "OPTIONS")
        and (row.path or "").startswith(_METADATA)
        and policy.serves_origin(row.subject.host, row.subject.port)
    )


def _asks_dns(row: Row) -> bool:
    """Tell whether this is DNS over HTTPS, as far as a record tells; its query is not kept."""
    path = (row.path or "").rstrip("/").lower()
    return row.code == _DNS or "doh" in row.subject.tags or path.endswith("/dns-query")


def _is_spent(rule: EgressRule, layer: Sequence[EgressRule], unknowns: Unknowns) -> bool:
    limit = rule.max_session
    if limit is None:
        return False
    # What was counted for it depends on the rules above; what they are called makes no difference.
    above = takewhile(lambda one: one.id != rule.id, layer)
    return unknowns.holds(("spent", limit, *map(_target, above), _target(rule)))


def _target(rule: EgressRule) -> Hashable:
    who = rule.circumstances
    agents = None if who.agents is None else who.agents.texts
    return (
        rule.hosts, rule.methods, rule.ports, rule.paths, rule.protocols, rule.max_request,
        rule.verdict, rule.effects.shadow, agents, who.groups, who.window,
    )  # fmt: skip


def _denied(decision: Decision, code: str) -> Decision:
    return replace(decision, verdict=Verdict.DENY, code=code)


def _tunnel(policy: Policy, row: Row) -> Side | None:
    """Return what is said of a tunnel; None: that is decided by what would be in it."""
    subject = row.subject
    denied = connect_denied(policy, subject.host, subject.port)
    if denied is not None:
        return Side(denied.verdict, denied.rule, (), denied.verdict)
    groups = policy.agents.groups_of(subject.agent)
    call = EgressCall(subject.agent, subject.host, subject.port, "CONNECT", "/", groups, row.at)
    rule = uninspected(policy, call)
    if rule is None or not is_usual_port(policy, call.host, call.port):
        return None
    return Side(Verdict.ALLOW, rule.id, (), Verdict.ALLOW)


def _remembered(row: Row, decision: Decision) -> Decision:
    """Return *decision* after the operator's answer that *row* rests on; a deny always holds."""
    if not row.granted:
        return decision
    if row.verdict is Verdict.DENY and row.code == "remembered":
        return replace(decision, verdict=Verdict.DENY)
    asks = decision.verdict is Verdict.ASK and decision.floor is not Verdict.ASK
    return replace(decision, verdict=Verdict.ALLOW) if asks else decision


def _cannot_wait(row: Row) -> bool:
    method = row.subject.method
    told = method.startswith(_NOTIFIED) or method == "response"
    return row.kind == "message" or (told and row.kind == "request")


def _edits(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    return tuple(f"{type(edit).__name__} {edit.pointer}" for edit in edits)
