"""Decisions on traffic that is not MCP: rules from top to bottom, the locked floor, tunnels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
from mitmgate.policy.egress_rule import HTTPS, WEB_PORTS, EgressRule
from mitmgate.policy.url_paths import perhaps_below, surely_below
from mitmgate.policy.verdict import Decision, ShadowMatch, Verdict


def decide_egress(policy: Policy, call: EgressCall) -> Decision:
    """Judge *call* by the egress rules."""
    return fail_closed(lambda: _decide_egress(policy, call))


def issues_tokens(policy: Policy, call: EgressCall) -> bool:
    """Say whether the rule that decides *call* has ``oauth``: its hosts are token endpoints."""
    rule = _first(policy.egress_rules, call, usual=is_usual_port(policy, call.host, call.port))
    return rule is not None and rule.oauth


def deciding_egress(policy: Policy, call: EgressCall) -> EgressRule | None:
    """Return the rule that decides *call*, None where that is ``egress.otherwise``.

    Where the locked layer decides, it is that rule with what the policy's own rule opens
    (``websocket``, ``dns``, ``oauth``, ``inspect``): a floor opens nothing. ``max_session`` is the
    smaller one of both layers.
    """
    usual = is_usual_port(policy, call.host, call.port)
    own = _first(policy.egress_rules, call, usual=usual)
    floor = _first(policy.locked_egress, call, usual=usual, locked=True)
    if floor is None:
        return own
    if own is None:
        return replace(floor, websocket=None, dns=False, oauth=False, inspect="body")
    limits = [one.max_session for one in (own, floor) if one.max_session is not None]
    wins = floor.verdict >= own.verdict and floor.verdict is not Verdict.ALLOW
    return replace(
        floor if wins else own,
        websocket=own.websocket,
        dns=own.dns,
        oauth=own.oauth,
        inspect=own.inspect,
        max_session=min(limits, default=None),
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """What goes out is counted for *rule*, which is *locked* or the policy's own."""

    rule: EgressRule
    locked: bool = False

    @property
    def key(self) -> str:
        """The rule's name among those of both layers, which may use the same id."""
        return f"locked {self.rule.id}" if self.locked else self.rule.id


def budgets_of(policy: Policy, call: EgressCall) -> tuple[Budget, ...]:
    """Return the budgets that *call* counts against: one of each layer that has a rule for it.

    They are apart, since one locked rule may stand above many of the policy.
    """
    usual = is_usual_port(policy, call.host, call.port)
    own = _first(policy.egress_rules, call, usual=usual)
    floor = _first(policy.locked_egress, call, usual=usual, locked=True)
    found = (own, False), (floor, True)
    return tuple(Budget(rule, locked) for rule, locked in found if rule is not None)


def uninspected(policy: Policy, call: EgressCall) -> EgressRule | None:
    """Return the rule by which TLS to the host and port of *call* stays closed, or None.

    Nothing but the agent, host, port and time of *call* is looked at: nothing else is known. So a
    rule above it that may be for some requests to this host keeps TLS open, and so do a locked rule
    that may stop one, and an MCP server of this host.
    """
    local = _is_local(policy, call.host)
    if (call.port != HTTPS and not local) or call.host in policy.servers_by_host:
        return None
    usual = is_usual_port(policy, call.host, call.port)
    meant = (rule for rule in policy.egress_rules if _may_be_for(rule, call, usual=usual))
    own = next((rule for rule in meant if not rule.effects.shadow), None)
    if own is None or own.inspect != "none" or own.verdict is not Verdict.ALLOW:
        return None
    for floor in policy.locked_egress:
        if _may_be_for(floor, call, usual=usual):
            limited = floor.max_request is not None or floor.max_session is not None
            if floor.verdict is not Verdict.ALLOW or limited:
                return None
            if floor.is_plain:
                break
    return own


def _may_be_for(rule: EgressRule, call: EgressCall, *, usual: bool) -> bool:
    there = rule.hosts.matches(call.host) and rule.has_port(call.port, usual=usual)
    return there and rule.circumstances.miss(call) is None


def connect_denied(policy: Policy, host: str, port: int) -> Decision | None:
    """Return the denial of a tunnel to the normalised *host* and *port*, or None: go on.

    Everything that no rule denies outright waits until the request is seen: only then an
    unknown MCP server is recognised, and only then the agent learns why it was stopped.
    """
    try:
        return _connect_denied(policy, host, port)
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return broken(error)


def is_usual_port(policy: Policy, host: str, port: int) -> bool:
    """Say whether *port* is open at the normalised *host* without a rule that names it."""
    if port in WEB_PORTS or policy.serves_origin(host, port):
        return True
    return _is_local(policy, host)


def _is_local(policy: Policy, host: str) -> bool:
    # Names that the operator put on this machine by hand are test servers on free ports.
    static = policy.resolve(host)
    return static is not None and classify(static) is AddressClass.LOOPBACK


def egress_miss(rule: EgressRule, call: EgressCall, *, usual: bool) -> Miss | None:
    """Return the first condition of *rule* that the request does not meet, or None.

    *usual* is what :func:`is_usual_port` says of its host and port.
    """
    if not rule.hosts.matches(call.host):
        return "host"
    if not rule.has_port(call.port, usual=usual):
        return "port"
    if rule.methods is not None and call.method not in rule.methods:
        return "method"
    if rule.protocols is not None and call.protocol not in rule.protocols:
        return "protocol"
    if rule.paths is not None:
        below = surely_below if rule.verdict is Verdict.ALLOW else perhaps_below
        if not below(call.path, rule.paths):
            return "path"
    return rule.circumstances.miss(call)


def is_too_large(rule: EgressRule, call: EgressCall) -> bool:
    """Say whether the request is larger than *rule* lets through."""
    return rule.max_request is not None and call.size > rule.max_request


def _decide_egress(policy: Policy, call: EgressCall) -> Decision:
    for watcher in policy.watchers:
        watcher(call, None, "egress")
    usual = is_usual_port(policy, call.host, call.port)
    decision = _first_egress(policy.egress_rules, call, usual=usual)
    if decision is None or decision.rule == "":
        last = otherwise(policy.egress_otherwise, "egress", "host")
        decision = last if decision is None else replace(last, shadow=told(decision, last))
    floor = _first_egress(policy.locked_egress, call, usual=usual, locked=True)
    return stricter(decision, floor)


def _first(
    rules: Iterable[EgressRule], call: EgressCall, *, usual: bool, locked: bool = False
) -> EgressRule | None:
    """Return the first of *rules* that matches and is enforced."""
    for rule in rules:
        enforced = locked or not rule.effects.shadow
        if enforced and egress_miss(rule, call, usual=usual) is None:
            return rule
    return None


def _first_egress(
    rules: Iterable[EgressRule], call: EgressCall, *, usual: bool, locked: bool = False
) -> Decision | None:
    shadow: ShadowMatch | None = None
    for rule in rules:
        if egress_miss(rule, call, usual=usual) is not None:
            continue
        decision = _decision(rule, call, locked=locked)
        if not rule.effects.shadow or locked:
            known = shadow if shadow and shadow.verdict is not decision.verdict else None
            return replace(decision, shadow=known)
        shadow = shadow or ShadowMatch(rule.id, decision.verdict)
    if shadow is None:
        return None
    return Decision(shadow.verdict, "", "shadow", "", "", shadow=shadow)


def _decision(rule: EgressRule, call: EgressCall, *, locked: bool) -> Decision:
    if not is_too_large(rule, call):
        return rule_decision(rule, noun="host", locked=locked)
    return Decision(
        Verdict.DENY,
        rule.id,
        "request_too_large",
        f"rule {rule.id}: a body of {call.size} bytes is more than its max_request, "
        f"{rule.max_request}",
        f"The operator's policy lets a request to this host have at most {rule.max_request} bytes, "
        "and this one has more. Do not retry as it is: send less, or tell the user what you need.",
        severity=rule.effects.severity,
    )


def _connect_denied(policy: Policy, host: str, port: int) -> Decision | None:
    usual = is_usual_port(policy, host, port)
    if not usual and not _is_opened(policy, host, port):
        return Decision(
            Verdict.DENY,
            "connect_port",
            "port",
            f"port {port} is no web port, no port of a server at this host, and no rule opens it",
            "Only web ports can be reached from here.",
        )
    if host in policy.servers_by_host:
        return None
    for locked, rules in ((True, policy.locked_egress), (False, policy.egress_rules)):
        for rule in rules:
            if not rule.hosts.matches(host) or (rule.effects.shadow and not locked):
                continue
            if not rule.has_port(port, usual=usual):
                continue
            if rule.verdict is not Verdict.DENY:
                break  # it may match the request to come
            if rule.is_outright:
                return rule_decision(rule, noun="host", locked=locked)
    return None


def _is_opened(policy: Policy, host: str, port: int) -> bool:
    """Say whether a rule of the policy that asks or allows names *port* for *host*."""
    return any(
        rule.ports is not None
        and port in rule.ports
        and rule.verdict is not Verdict.DENY
        and not rule.effects.shadow
        and rule.hosts.matches(host)
        for rule in policy.egress_rules
    )
