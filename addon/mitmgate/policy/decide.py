"""A policy and a call to a decision. Pure and total: every input gets one, none raises.

Precedence for MCP, first that applies:

1. rules from top to bottom, on named servers only; the first whose conditions all hold decides.
   A rule without ``server`` means every named server. A rule without ``method`` means
   ``tools/call`` if it has a ``tool``, else every method that is not housekeeping.
2. housekeeping passes
3. ``mcp.otherwise``

Where a rule is tried whose server, method and tool are those of the call, and a server may find
another value than we do where its ``where`` looks, the call is denied as ambiguous. A denial of
a target that the agent must not know of says that there is none (``mitmgate.policy.hidden``).

Whether an endpoint that no server names may be spoken to at all is ``decide_unknown``, which
the caller asks before. Precedence for egress: rules from top to bottom, then
``egress.otherwise``; ``connect_denied`` is what can be said before TLS. If evaluating fails,
the answer is deny.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mitmgate.net.addresses import AddressClass, classify
from mitmgate.policy.compiled import EgressRule, McpRule, Policy, ScanEffect
from mitmgate.policy.hidden import hidden_names, is_hidden
from mitmgate.policy.keys import KeyFolds, is_ambiguous
from mitmgate.policy.verdict import Decision, Verdict

__all__ = [
    "Call",
    "EgressCall",
    "Miss",
    "Step",
    "agent_sentence",
    "connect_denied",
    "decide",
    "decide_egress",
    "decide_unknown",
    "egress_miss",
    "hidden_names",
    "mcp_miss",
    "rule_decision",
    "scan_effect",
    "trace",
]

WEB_PORTS = frozenset({80, 443, 8080, 8443})

type Miss = Literal["server", "method", "tool", "ambiguous", "where", "host"]


@dataclass(frozen=True, slots=True)
class Call:
    """An MCP message of an agent. ``server`` is None where no server names the endpoint.

    ``tool`` is the tool, prompt or resource that is meant; ``housekeeping`` says that the
    method does nothing but keep the session going.
    """

    agent: str
    server: str | None
    method: str
    tool: str | None = None
    params: Mapping[str, Any] | None = None
    housekeeping: bool = False


@dataclass(frozen=True, slots=True)
class EgressCall:
    """An HTTP request that is not MCP; ``host`` is normalised."""

    agent: str
    host: str
    port: int
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that was tried, whether it decided, and why (for the operator only)."""

    rule: str
    matched: bool
    why: str


def decide(policy: Policy, call: Call) -> Decision:
    """Judge *call* by the MCP rules."""
    return _fail_closed(lambda: _decide(policy, call))


def decide_egress(policy: Policy, call: EgressCall) -> Decision:
    """Judge *call* by the egress rules."""
    return _fail_closed(lambda: _decide_egress(policy, call))


def issues_tokens(policy: Policy, call: EgressCall) -> bool:
    """Say whether the rule that decides *call* has ``oauth``: its hosts are token endpoints."""
    for rule in policy.egress_rules:
        if egress_miss(rule, call.host, call.method) is None:
            return rule.oauth
    return False


def decide_unknown(policy: Policy, endpoint: str) -> Decision:  # noqa: ARG001 - see below
    """Judge whether an agent may speak MCP to the URL *endpoint*, which no server names.

    So far all such endpoints are alike; the caller asks one question for each.
    """
    return _fail_closed(lambda: _decide_unknown(policy))


def connect_denied(policy: Policy, host: str, port: int) -> Decision | None:
    """Return the denial of a tunnel to the normalised *host* and *port*, or None: go on.

    Everything that no rule denies outright waits until the request is seen: only then an
    unknown MCP server is recognised, and only then the agent learns why it was stopped.
    """
    try:
        return _connect_denied(policy, host, port)
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return _broken(error)


def scan_effect(policy: Policy, detector: str, surface: str) -> ScanEffect:
    """Return what a finding of *detector* on *surface* does; deny for names nobody knows."""
    return policy.effects.get((str(detector), str(surface)), "deny")


def trace(policy: Policy, call: Call) -> list[Step]:
    """Return each rule that was tried for *call*, in order, the deciding one last."""
    steps: list[Step] = []
    folds = KeyFolds()
    for rule in policy.mcp_rules:
        miss = mcp_miss(rule, call, folds)
        if miss is None:
            steps.append(Step(rule.id, True, "every condition holds"))
            return steps
        if miss == "ambiguous":
            steps.append(Step("ambiguous_key", True, _why_ambiguous(rule, call, folds)))
            return steps
        steps.append(Step(rule.id, False, _why_missed(rule, call, miss)))
    if call.housekeeping:
        steps.append(Step("housekeeping", True, "no rule matched, and the method is housekeeping"))
    else:
        steps.append(Step("otherwise", True, "no rule matched"))
    return steps


def mcp_miss(rule: McpRule, call: Call, folds: KeyFolds) -> Miss | None:
    """Return the first condition of *rule* that *call* does not meet, or None: it matches.

    ``ambiguous`` stands for a ``where`` that cannot be trusted, whether or not it holds.
    """
    if not rule.is_for_server(call.server):
        return "server"
    if not rule.is_for_method(call.method, housekeeping=call.housekeeping):
        return "method"
    if rule.tools is not None and (call.tool is None or not rule.tools.matches(call.tool)):
        return "tool"
    if any(is_ambiguous(condition, call.params, folds) for condition in rule.where):
        return "ambiguous"
    if not all(condition.holds(call.params) for condition in rule.where):
        return "where"
    return None


def egress_miss(rule: EgressRule, host: str, method: str) -> Miss | None:
    """Return the first condition of *rule* that the request does not meet, or None."""
    if not rule.hosts.matches(host):
        return "host"
    return None if rule.methods is None or method in rule.methods else "method"


def rule_decision(rule: McpRule | EgressRule, *, noun: str) -> Decision:
    """Return the decision of *rule*; *noun* is what the agent is told about (tool, host)."""
    word = rule.verdict.word
    reason = f"rule {rule.id}: {rule.reason}" if rule.reason else f"rule {rule.id} says {word}"
    told = rule.reason or agent_sentence(rule.verdict, noun)
    return Decision(rule.verdict, rule.id, "rule", reason, told)


def agent_sentence(verdict: Verdict, noun: str) -> str:
    """Return what an agent may read about *verdict*: nothing that maps the policy for it."""
    match verdict:
        case Verdict.ALLOW:
            return f"The operator's policy allows this {noun}."
        case Verdict.ASK:
            return f"The operator's policy wants a person to approve this {noun} first."
        case Verdict.DENY:
            return (
                f"The operator's policy does not allow this {noun}. Do not retry; "
                "continue without it, or tell the user what you need it for."
            )


def _fail_closed(judge: Callable[[], Decision]) -> Decision:
    try:
        return judge()
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return _broken(error)


def _broken(error: Exception) -> Decision:
    return Decision(
        Verdict.DENY,
        "policy_error",
        "policy_error",
        f"the policy could not be evaluated ({type(error).__name__}); report this as a bug",
        "The operator's policy could not be evaluated, so this was not allowed.",
    )


def _decide(policy: Policy, call: Call) -> Decision:
    noun = "tool" if call.method == "tools/call" else "request"
    folds = KeyFolds()
    for rule in policy.mcp_rules:
        miss = mcp_miss(rule, call, folds)
        if miss is None:
            return _concealed(policy, call, rule_decision(rule, noun=noun))
        if miss == "ambiguous":
            return _concealed(policy, call, _ambiguous(_why_ambiguous(rule, call, folds)))
    if call.housekeeping:
        return Decision(
            Verdict.ALLOW,
            "housekeeping",
            "housekeeping",
            "housekeeping passes unless a rule with method says otherwise",
            agent_sentence(Verdict.ALLOW, noun),
        )
    return _otherwise(policy.mcp_otherwise, "mcp", noun)


def _ambiguous(why: str) -> Decision:
    return Decision(
        Verdict.DENY,
        "ambiguous_key",
        "ambiguous_key",
        why,
        "A key of the request is spelt so that servers may take it for another one, so this was "
        "not allowed. Use the names that the schema gives, each once.",
    )


def _concealed(policy: Policy, call: Call, decision: Decision) -> Decision:
    """Return *decision* so that the agent does not learn of a target that is hidden from it."""
    if decision.verdict is not Verdict.DENY or not is_hidden(
        policy, call.server, call.method, call.tool, housekeeping=call.housekeeping
    ):
        return decision
    code = "hidden" if decision.code == "rule" else decision.code
    told = f"Unknown {_TARGETS.get(call.method, 'name')}."
    return replace(decision, code=code, agent_reason=told, hidden=True)


_TARGETS = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}


def _decide_egress(policy: Policy, call: EgressCall) -> Decision:
    for rule in policy.egress_rules:
        if egress_miss(rule, call.host, call.method) is None:
            return rule_decision(rule, noun="host")
    return _otherwise(policy.egress_otherwise, "egress", "host")


def _decide_unknown(policy: Policy) -> Decision:
    verdict = policy.unknown_servers
    return Decision(
        verdict,
        "unknown_servers",
        "unknown_server",
        f"no server of the policy has this URL, and mcp.unknown_servers is {verdict.word}",
        agent_sentence(verdict, "MCP server"),
    )


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
    for rule in policy.egress_rules:
        if not rule.hosts.matches(host):
            continue
        if rule.verdict is not Verdict.DENY:
            return None  # it may match the request to come
        if rule.methods is None:
            return rule_decision(rule, noun="host")
    return None


def _port_open(policy: Policy, host: str, port: int) -> bool:
    if port in WEB_PORTS or policy.serves_origin(host, port):
        return True
    # Names that the operator put on this machine by hand are test servers on free ports.
    static = policy.resolve(host)
    return static is not None and classify(static) is AddressClass.LOOPBACK


def _otherwise(verdict: Verdict, section: str, noun: str) -> Decision:
    reason = f"no rule matched, and {section}.otherwise is {verdict.word}"
    return Decision(verdict, "otherwise", "otherwise", reason, agent_sentence(verdict, noun))


def _why_ambiguous(rule: McpRule, call: Call, folds: KeyFolds) -> str:
    # The key itself is the agent's text and stays out of records.
    pointers = [one.pointer for one in rule.where if is_ambiguous(one, call.params, folds)]
    return (
        f"rule {rule.id} looks at {' and '.join(pointers)}, and on the way there is a key that "
        "some servers take for the one that is looked at (letter case, NUL or Unicode), or there "
        "are too many keys to tell"
    )


def _why_missed(rule: McpRule, call: Call, miss: Miss) -> str:
    if call.server is None:
        return "rules are for named servers, and this one has no name"
    if miss == "server":
        return f"the server is not {_listed(sorted(rule.servers or ()))}"
    if miss == "tool":
        return f"the tool is not {_listed(rule.tools.texts if rule.tools else ())}"
    if miss == "where":
        pointers = [one.pointer for one in rule.where if not one.holds(call.params)]
        return f"params do not have the wanted value at {' and '.join(pointers)}"
    if rule.methods is not None:
        return f"the method is not {_listed(rule.methods.texts)}"
    return "a rule without method is for tools/call" if rule.tools else (
        "a rule without method is not for housekeeping")  # fmt: skip


def _listed(texts: tuple[str, ...] | list[str]) -> str:
    shown = texts if len(texts) <= 8 else [*texts[:7], f"{len(texts) - 7} more"]
    return " or ".join(shown)
