"""MCP servers that a model API is told to call: the same policy as for those called from here.

Such a request moves calls out of sight, so each server in it is asked about as a call of method
``delegate``: rules with that ``method`` decide, then ``mcp.unknown_servers`` on one without a name,
then ``mcp.delegated``. What may not be used is taken out of the request, where it says ``strip``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from mitmgate.errors import WireError
from mitmgate.judge.calls import question_of
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, refused
from mitmgate.judge.handing import Handed, read_handed
from mitmgate.judge.prepare import PreparedAnswer, PreparedRequest
from mitmgate.judge.state import Exchange
from mitmgate.policy.call import Call
from mitmgate.policy.decide import (
    agent_sentence,
    decide,
    decide_unknown,
    strictest,
    with_remembered,
)
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.delegated import Delegated, Delegation, cuts, endpoint_of
from mitmgate.wire.edit import Cut
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Transport

METHOD = "delegate"
_CREDENTIALS = ("/authorization", "/headers", "/auth")
_NOUN = "MCP server for a model API"


def with_delegations(
    context: Context,
    prepared: PreparedRequest,
    judge: Callable[[PreparedRequest], tuple[Exchange, Concluded]],
) -> tuple[Exchange, Concluded]:
    """Return what *judge* says of *prepared*, stricter where it hands calls to barred servers."""

    def weigh(findings: tuple[Finding, ...]) -> Concluded:
        if findings == prepared.findings:
            return judge(prepared)[1]
        return judge(replace(prepared, findings=findings))[1]

    handed, told = prepared.handed, prepared.input.head.get("content-type") or ""
    if handed is None:
        handed = read_handed(prepared.body.text, prepared.body.unread, content_type=told)
    return context.exchange, handed_over(context, handed, prepared.findings, weigh)


def handed_over(
    context: Context,
    handed: Handed,
    findings: tuple[Finding, ...],
    weigh: Callable[[tuple[Finding, ...]], Concluded],
) -> Concluded:
    """Return what *weigh* concludes on *findings*, stricter for the servers that are *handed*.

    They stand in the body of one request or message.
    """
    if handed.problem is not None:
        return _denied(weigh(findings), refused(handed.problem))
    if not handed.given.servers:
        return weigh(findings)
    ruled = _handed(context, handed.given, findings)
    return ruled.onto(weigh(ruled.leaving(findings)))


def learn_listed(context: Context, prepared: PreparedAnswer) -> None:
    """Take in what a model API tells of the tools of a server that it was handed."""
    inventory, key = context.memory.inventory, context.exchange.key
    for one in prepared.listed:
        endpoint = inventory.handed(key, one.label)
        if endpoint is not None:
            inventory.listed(endpoint, one.item, first=True)


def _denied(concluded: Concluded, decision: Decision) -> Concluded:
    if concluded.weighed.decision.verdict is Verdict.DENY:
        return concluded
    floor = concluded.weighed.decision
    weighed = replace(concluded.weighed, decision=strictest(floor, decision))
    return replace(concluded, weighed=weighed, question=None)


@dataclass(frozen=True, slots=True)
class _Ruled:
    """One server that is handed over, and what the policy says of it.

    ``question`` is remembered; ``strip`` says that it is taken out instead of the denial.
    """

    server: Delegation
    name: str | None
    decision: Decision
    question: str
    strip: bool


@dataclass(frozen=True, slots=True)
class _Servers:
    """All servers that a request hands over; ``cuts`` take out those that are stripped."""

    ruled: tuple[_Ruled, ...]
    cuts: tuple[Cut, ...]

    def leaving(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Return *findings* without what is taken out, or is a named server's own credential."""
        gone = [f"{cut.pointer}/" for cut in self.cuts]
        homes = [
            f"{one.server.pointer}{member}"
            for one in self.ruled
            if one.name is not None and one.decision.verdict is not Verdict.DENY
            for member in _CREDENTIALS
        ]
        return tuple(
            finding
            for finding in findings
            if not f"{finding.pointer}/".startswith(tuple(gone))
            and not (finding.detector == "secrets" and finding.pointer.startswith(tuple(homes)))
        )

    def onto(self, concluded: Concluded) -> Concluded:
        """Return *concluded*, on the whole request, with the strictest word on its servers."""
        weighed, decision = concluded.weighed, concluded.weighed.decision
        kept = [one for one in self.ruled if not one.strip]
        first = max(kept or self.ruled, key=lambda one: one.decision.verdict)
        label = first.server.label if _is_shown(first.server, concluded.findings) else ""
        subject = replace(
            concluded.subject,
            server=first.name or concluded.subject.server,
            tool=f"{METHOD}:{label}"[:200],
        )
        concluded = replace(concluded, subject=subject)
        if self.cuts:
            reason = f"{decision.reason}; {_counted(len(self.ruled) - len(kept))} taken out"
            decision = replace(decision, reason=reason)
            weighed = replace(weighed, decision=decision, edits=(*self.cuts, *weighed.edits))
        if kept and first.decision.verdict is not Verdict.ALLOW:
            if decision.verdict is Verdict.DENY or first.decision.verdict is Verdict.DENY:
                weighed = replace(weighed, decision=strictest(decision, first.decision))
                return replace(concluded, weighed=weighed, question=None)
            asked = replace(first.decision, floor=max(decision.floor, first.decision.floor))
            weighed = replace(weighed, decision=asked)
            return replace(concluded, weighed=weighed, question=first.question)
        return replace(concluded, weighed=weighed)


def _is_shown(server: Delegation, findings: tuple[Finding, ...]) -> bool:
    return not any(one.pointer.startswith(server.pointer) for one in findings)


def _counted(number: int) -> str:
    return "1 MCP server was" if number == 1 else f"{number} MCP servers were"


def _handed(context: Context, given: Delegated, findings: tuple[Finding, ...]) -> _Servers:
    ruled = tuple(_ruled(context, one, findings) for one in given.servers)
    gone = [one.server for one in ruled if one.strip]
    if gone and given.value is None:
        # Of many documents in one body none is edited, nor what is no text.
        return _Servers(tuple(replace(one, strip=False) for one in ruled), ())
    return _Servers(ruled, cuts(given.value, gone) if gone else ())


def _ruled(context: Context, one: Delegation, findings: tuple[Finding, ...]) -> _Ruled:
    policy, memory, exchange = context.policy, context.memory, context.exchange
    strips = policy.delegated == "strip"
    try:
        endpoint, url = _where(one)
    except WireError as problem:
        return _Ruled(one, None, refused(problem), "", strips)
    if not _is_shown(one, tuple(f for f in findings if f.detector in ("secrets", "canary"))):
        url = f"{url.partition('://')[0]}://{endpoint.host}/[redacted]"
    name = policy.server_for(endpoint.scheme, endpoint.host, endpoint.port, endpoint.path)
    subject = exchange.subject
    memory.inventory.saw(
        endpoint, url=url, agent=subject.agent, server=name, transport=Transport.DELEGATED,
        now=memory.now,
    )  # fmt: skip
    memory.inventory.hand(exchange.key, one.label, endpoint)
    decision = _decision(context, one, name, url)
    question = _question(subject.agent, subject.host, endpoint)
    decision = with_remembered(decision, memory.remembered(question))
    if name is None and memory.remembered(question_of(subject.agent, endpoint)) == "deny":
        decision = replace(decision, verdict=Verdict.DENY)
    barred = decision.verdict is Verdict.DENY or (
        decision.verdict is Verdict.ASK and decision.code in ("otherwise", "unknown_server")
    )
    return _Ruled(one, name, decision, question, strips and barred)


def _where(one: Delegation) -> tuple[Endpoint, str]:
    if one.url is not None:
        return endpoint_of(one.url)
    connector = one.connector or "unnamed"
    shown = "".join(char if char.isprintable() else "?" for char in connector[:100])
    return Endpoint("connector", "connector", 0, f"/{connector}"), f"connector:{shown}"


def _decision(context: Context, one: Delegation, name: str | None, url: str) -> Decision:
    policy, subject = context.policy, context.exchange.subject
    call = Call(
        agent=subject.agent,
        server=name,
        method=METHOD,
        params={"label": one.label, "provider": subject.host},
        # Only a rule that names the method opens this: calls of the provider pass no other.
        housekeeping=True,
        groups=policy.agents.groups_of(subject.agent),
        transport=Transport.DELEGATED.value,
        now=context.memory.now,
    )
    ruled = decide(policy, call)
    if name is None:
        # Of rules only the locked ones are for servers without a name.
        return strictest(_unknown(policy, subject.host, url), ruled)
    if ruled.code != "housekeeping":
        return ruled
    return replace(_otherwise(policy, url), shadow=ruled.shadow)


def _unknown(policy: Policy, provider: str, url: str) -> Decision:
    unknown = decide_unknown(policy, url)
    if unknown.verdict is Verdict.ALLOW:
        return _otherwise(policy, url)
    return replace(unknown, reason=f"{provider} shall call {url}: {unknown.reason}")


def _otherwise(policy: Policy, url: str) -> Decision:
    word = policy.delegated
    verdict = Verdict.DENY if word == "strip" else Verdict.from_word(word)
    reason = f"a model API shall call {url}: no rule is for it, and mcp.delegated is {word}"
    return Decision(verdict, "delegated", "otherwise", reason, agent_sentence(verdict, _NOUN))


def _question(agent: str, provider: str, endpoint: Endpoint) -> str:
    path = hashlib.sha256(endpoint.path.encode("utf-8", "replace")).hexdigest()[:16]
    where = f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}"
    return f"{METHOD} {agent} {provider} {where} {path}"
