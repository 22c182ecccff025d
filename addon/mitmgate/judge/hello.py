"""Conclude on a TLS ClientHello: whether the connection passes unread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.judge.agents import identify
from mitmgate.judge.inputs import ConnectInput
from mitmgate.judge.outcome import Subject
from mitmgate.net.authority import normalise_authority, normalise_host
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import uninspected
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class HelloInput(ConnectInput):
    """A ClientHello (RFC 8446 section 4.1.2) in a tunnel to ``authority``, or on its way there.

    ``sni`` is the name in it as it was written, ``ech`` says that it is encrypted, or may be (RFC
    9849: ``sni`` is then the outer name), ``now`` is in seconds since the epoch.
    """

    sni: str | None = None
    ech: bool = False
    now: float = 0.0


def hello_record(given: ConnectInput) -> dict[str, Any]:
    """Return what a capture keeps of a ClientHello beside its CONNECT; nothing of a mere one."""
    if not isinstance(given, HelloInput):
        return {}
    return {"hello": {"sni": given.sni, "ech": given.ech, "now": given.now}}


def with_hello(given: ConnectInput, record: Mapping[str, Any]) -> ConnectInput:
    """Return *given* as :func:`hello_record` found it; raise ValueError for what it never wrote."""
    hello = record.get("hello")
    if hello is None:
        return given
    if not isinstance(hello, Mapping):
        raise ValueError("not a ClientHello")
    sni, ech, now = (hello.get(name) for name in ("sni", "ech", "now"))
    if not isinstance(sni, str | None) or not isinstance(ech, bool) or type(now) is not float:
        raise ValueError("not a ClientHello")
    return HelloInput(
        given.exchange, given.agent, given.authority, given.shown, sni, ech=ech, now=now
    )


def judge_hello(policy: Policy, given: HelloInput) -> tuple[Subject, Decision] | None:
    """Return the rule's word that TLS stays closed, or None: it is opened and judged inside."""
    agent, refusal = identify(policy, given)
    if refusal is not None or given.ech or given.sni is None:
        return None
    try:
        target, name = normalise_authority(given.authority), normalise_host(given.sni)
    except WireError:
        return None
    host, port = target.host, target.port if target.port is not None else 443
    if host != name:
        return None
    call = EgressCall(agent, host, port, "CONNECT", "/", policy.agents.groups_of(agent), given.now)
    rule = uninspected(policy, call)
    if rule is None:
        return None
    subject = Subject(agent, "egress", host, port, f"{host}:{port}", "CONNECT")
    reason = f"not inspected: rule {rule.id} leaves TLS to this host closed"
    return subject, Decision(Verdict.ALLOW, rule.id, "not_inspected", reason, reason)
