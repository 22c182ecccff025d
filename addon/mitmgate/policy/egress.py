"""Decisions on traffic that is not MCP: rules from top to bottom, the locked floor, tunnels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mitmgate.net.addresses import AddressClass, classify
from mitmgate.policy.call import EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import (
    Miss,
    broken,
    fail_closed,
    otherwise,
    rule_decision,
    stricter,
    told,
)
from mitmgate.policy.rules import ALWAYS, EgressRule
from mitmgate.policy.verdict import Decision, ShadowMatch, Verdict

WEB_PORTS = frozenset({80, 443, 8080, 8443})


def decide_egress(policy: Policy, call: EgressCall) -> Decision:
    """Judge *call* by the egress rules."""
    return fail_closed(lambda: _decide_egress(policy, call))


def issues_tokens(policy: Policy, call: EgressCall) -> bool:
    """Say whether the rule that decides *call* has ``oauth``: its hosts are token endpoints."""
    for rule in policy.egress_rules:
        if not rule.effects.shadow and egress_miss(rule, call) is None:
            return rule.oauth
    return False


def connect_denied(policy: Policy, host: str, port: int) -> Decision | None:
    """Return the denial of a tunnel to the normalised *host* and *port*, or None: go on.

    Everything that no rule denies outright waits until the request is seen: only then an
    unknown MCP server is recognised, and only then the agent learns why it was stopped.
    """
    try:
        return _connect_denied(policy, host, port)
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return broken(error)


def egress_miss(rule: EgressRule, call: EgressCall) -> Miss | None:
    """Return the first condition of *rule* that the request does not meet, or None."""
    if not rule.hosts.matches(call.host):
        return "host"
    if rule.methods is not None and call.method not in rule.methods:
        return "method"
    return rule.circumstances.miss(call)


def _decide_egress(policy: Policy, call: EgressCall) -> Decision:
    decision = _first_egress(policy.egress_rules, call)
    if decision is None or decision.rule == "":
        last = otherwise(policy.egress_otherwise, "egress", "host")
        decision = last if decision is None else replace(last, shadow=told(decision, last))
    return stricter(decision, _first_egress(policy.locked_egress, call, locked=True))


def _first_egress(
    rules: Iterable[EgressRule], call: EgressCall, *, locked: bool = False
) -> Decision | None:
    shadow: ShadowMatch | None = None
    for rule in rules:
        if egress_miss(rule, call) is not None:
            continue
        if not rule.effects.shadow or locked:
            decision = rule_decision(rule, noun="host", locked=locked)
            known = shadow if shadow and shadow.verdict is not decision.verdict else None
            return replace(decision, shadow=known)
        shadow = shadow or ShadowMatch(rule.id, rule.verdict)
    if shadow is None:
        return None
    return Decision(shadow.verdict, "", "shadow", "", "", shadow=shadow)


def _connect_denied(policy: Policy, host: str, port: int) -> Decision | None:
    if not _port_open(policy, host, port):
        return Decision(
            Verdict.DENY,
            "connect_port",
            "port",
            f"port {port} is no web port and no port of a server at this host",
            "Only web ports can be reached from here.",
        )
    if host in policy.servers_by_host:
        return None
    for locked, rules in ((True, policy.locked_egress), (False, policy.egress_rules)):
        for rule in rules:
            if not rule.hosts.matches(host) or (rule.effects.shadow and not locked):
                continue
            if rule.verdict is not Verdict.DENY:
                break  # it may match the request to come
            if rule.methods is None and rule.circumstances == ALWAYS:
                return rule_decision(rule, noun="host", locked=locked)
    return None


def _port_open(policy: Policy, host: str, port: int) -> bool:
    if port in WEB_PORTS or policy.serves_origin(host, port):
        return True
    # Names that the operator put on this machine by hand are test servers on free ports.
    static = policy.resolve(host)
    return static is not None and classify(static) is AddressClass.LOOPBACK
