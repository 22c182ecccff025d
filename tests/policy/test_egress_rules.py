"""Egress rules: hosts, ports, paths, protocols, sizes; and what a rule opens beside its verdict."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.call import EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import with_remembered
from mitmgate.policy.egress import (
    budgets_of,
    connect_denied,
    decide_egress,
    deciding_egress,
    issues_tokens,
)
from mitmgate.policy.load import load_policy
from mitmgate.policy.trace import trace_egress
from mitmgate.policy.verdict import Verdict

TEXT = """\
version: 1
network: {resolve: {local.test: 127.0.0.1}}
servers:
  fs: {url: "https://fs.example:9443/mcp"}
egress:
  rules:
    - {id: no-admin, host: "*.corp.example", paths: [/admin], then: deny}
    - {id: ssh-like, host: git.corp.example, ports: [2222], methods: [GET], then: ask}
    - {id: no-plain, host: a.corp.example, ports: [80, 8080], then: deny}
    - {id: api, host: a.corp.example, ports: [443], paths: [/v1, /v2], methods: [GET, POST],
       max_request: 1KB, then: allow}
    - {id: agents, host: a2a.corp.example, protocol: a2a, then: allow}
    - {id: corp, host: "*.corp.example", then: allow}
    - {id: files, host: fs.example, then: allow}
    - {id: local, host: local.test, then: allow}
    - {id: held, host: held.example, max_request: 1KB, then: ask, severity: high}
    - {id: only, host: only.example, paths: [/v1], then: allow}
    - {id: trial, host: trial.example, max_request: 1KB, then: allow, mode: shadow}
"""
POLICY = load_policy(TEXT, file="p.yaml")


def request(url: str, method: str = "GET", size: int = 0, protocol: str = "http") -> EgressCall:
    """Return a request for HOST:PORT/PATH."""
    authority, slash, path = url.partition("/")
    host, _, port = authority.partition(":")
    return EgressCall("agent", host, int(port or 443), method, slash + path or "/", size=size,
                      protocol=protocol)  # fmt: skip


# sentence: the request, the rule, the code, the verdict
CASES: dict[str, tuple[EgressCall, str, str, str]] = {
    "a path below a prefix": (request("a.corp.example/v1/x"), "api", "rule", "allow"),
    "a path that only begins alike": (request("a.corp.example/v10"), "corp", "rule", "allow"),
    "a denial of a path": (request("a.corp.example/admin/x"), "no-admin", "rule", "deny"),
    "a denial of a path, in other letters": (
        request("a.corp.example/ADMIN"), "no-admin", "rule", "deny"),
    "a denial of a path, escaped": (
        request("a.corp.example/%61dmin"), "no-admin", "rule", "deny"),
    "a denial of a path that may be meant": (
        request("a.corp.example/v1/..%2fadmin"), "no-admin", "rule", "deny"),
    "an allow of a path": (request("only.example/v1/%78"), "only", "rule", "allow"),
    "an allow of a path that leads elsewhere": (
        request("only.example/v1/..%2fx"), "otherwise", "otherwise", "deny"),
    "an allow of a path, in other letters": (
        request("only.example/V1"), "otherwise", "otherwise", "deny"),
    "an allow of a path that only some servers read so": (
        request("only.example/%76%31/x"), "otherwise", "otherwise", "deny"),
    "a rule of another port": (request("a.corp.example:80/v1"), "no-plain", "rule", "deny"),
    "a rule without ports is for the web's": (
        request("b.corp.example:8443/x"), "corp", "rule", "allow"),
    "a rule without ports opens none": (
        request("git.corp.example:2222/x", "POST"), "otherwise", "otherwise", "deny"),
    "a denial without ports is for all": (
        request("git.corp.example:2222/admin"), "no-admin", "rule", "deny"),
    "a port that a rule names": (request("git.corp.example:2222/x"), "ssh-like", "rule", "ask"),
    "the port of a server at this host": (
        request("fs.example:9443/x"), "files", "rule", "allow"),
    "a static name on this machine": (request("local.test:51234/x"), "local", "rule", "allow"),
    "a body as large as may be": (
        request("a.corp.example/v1", "POST", 1024), "api", "rule", "allow"),
    "a body that is larger": (
        request("a.corp.example/v1", "POST", 1025), "api", "request_too_large", "deny"),
    "a large body that a person would be asked about": (
        request("held.example/x", "POST", 1025), "held", "request_too_large", "deny"),
    "a small one": (request("held.example/x", "POST", 1), "held", "rule", "ask"),
    "a rule of a protocol": (
        request("a2a.corp.example/x", protocol="a2a"), "agents", "rule", "allow"),
    "another protocol": (request("a2a.corp.example/x"), "corp", "rule", "allow"),
    "a rule in shadow mode": (request("trial.example/x"), "otherwise", "otherwise", "deny"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "rule", "code", "verdict"), CASES.values(), ids=CASES)
def test_requests(call: EgressCall, rule: str, code: str, verdict: str) -> None:
    decision = decide_egress(POLICY, call)
    assert (decision.rule, decision.code, decision.verdict.word) == (rule, code, verdict)
    assert [step.rule for step in trace_egress(POLICY, call) if step.matched] == [rule]
    deciding = deciding_egress(POLICY, call)
    assert (deciding and deciding.id) == (None if rule == "otherwise" else rule)


def test_an_empty_list_of_rules_denies_everything() -> None:
    policy = load_policy("version: 1\negress: {rules: []}\n", file="p")
    decision = decide_egress(policy, request("a.example"))
    assert (decision.verdict, decision.rule) == (Verdict.DENY, "otherwise")


def test_what_is_said_of_a_body_that_is_too_large() -> None:
    decision = decide_egress(POLICY, request("held.example", "POST", 5000))
    assert decision.reason == "rule held: a body of 5000 bytes is more than its max_request, 1024"
    assert "at most 1024 bytes" in decision.agent_reason
    assert decision.severity == "high"


def test_a_remembered_approval_lets_no_large_body_through() -> None:
    decision = decide_egress(POLICY, request("held.example", "POST", 5000))
    assert with_remembered(decision, "allow").verdict is Verdict.DENY


def test_a_shadowed_limit_is_told() -> None:
    policy = load_policy(TEXT + "  otherwise: allow\n", file="p")
    shadow = decide_egress(policy, request("trial.example", "POST", 5000)).shadow
    assert shadow is not None
    assert (shadow.rule, shadow.verdict) == ("trial", Verdict.DENY)


# sentence: the rule that is asked, the request, why it is not the one
WHYS: dict[str, tuple[str, EgressCall, str]] = {
    "a port": ("ssh-like", request("git.corp.example/x"), "the port is not 2222"),
    "no web port": ("corp", request("git.corp.example:2222/x", "POST"),
                    "the port is no web port, and the rule names none"),
    "a path": ("api", request("a.corp.example/v3"),
               "the path is not below /v1 or /v2, or can be read in two ways"),
    "a protocol": ("agents", request("a2a.corp.example/x"), "the protocol is not a2a"),
    "a limit": ("api", request("a.corp.example/v1", "POST", 2000),
                "every condition holds, but the body is larger than its max_request"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "call", "why"), WHYS.values(), ids=WHYS)
def test_why_a_rule_is_not_the_one(rule: str, call: EgressCall, why: str) -> None:
    assert [step.why for step in trace_egress(POLICY, call) if step.rule == rule] == [why]


TUNNELS: dict[str, tuple[str, int, str | None]] = {
    "a port that a rule opens": ("git.corp.example", 2222, None),
    "the same port at another host": ("a.corp.example", 2222, "connect_port"),
    "a port that a rule denies outright": ("a.corp.example", 80, "no-plain"),
    "another port of that host": ("a.corp.example", 443, None),
    "a port that nobody opens": ("git.corp.example", 22, "connect_port"),
}


@pytest.mark.parametrize(("host", "port", "rule"), TUNNELS.values(), ids=TUNNELS)
def test_tunnels(host: str, port: int, rule: str | None) -> None:
    decision = connect_denied(POLICY, host, port)
    assert (decision and decision.rule) == rule


OUTRIGHT = {
    "a denial of a host": ("then: deny", True),
    "a denial of a path": ("paths: /x, then: deny", False),
    "a denial of a protocol": ("protocol: a2a, then: deny", False),
    "a denial of this port": ("ports: [443, 22], then: deny", True),
    "a denial of another port": ("ports: 22, then: deny", False),
    "a rule that opens another port does not keep it open": (
        "ports: 22, then: allow}, {id: s, host: x.example, then: deny",
        True,
    ),
    "a denial in shadow mode": ("mode: shadow, ports: 443, then: deny", False),
}


@pytest.mark.parametrize(("rule", "refused"), OUTRIGHT.values(), ids=OUTRIGHT)
def test_tunnels_that_a_rule_refuses(rule: str, refused: bool) -> None:
    policy = load_policy(
        f"version: 1\negress: {{rules: [{{id: r, host: x.example, {rule}}}]}}\n", file="p"
    )
    assert (connect_denied(policy, "x.example", 443) is not None) is refused


@pytest.mark.parametrize("rule", ["mode: shadow, then: allow", "then: deny"])
def test_rules_that_open_no_port(rule: str) -> None:
    text = f"version: 1\negress: {{rules: [{{id: r, host: x.example, ports: 22, {rule}}}]}}\n"
    decision = connect_denied(load_policy(text, file="p"), "x.example", 22)
    assert decision is not None
    assert decision.code == "port"


_X = "host: x.example"


def floored(own: str, floor: str) -> Policy:
    """Return a policy with one rule for x.example under a locked one."""
    policy, locked = (
        load_policy(f"version: 1\negress: {{rules: [{rule}]}}\n", file="p")
        for rule in (f"{{id: own, {_X}, {own}}}", f"{{id: floor, {_X}, {floor}}}")
    )
    return dataclasses.replace(policy, locked_egress=locked.egress_rules)


# sentence: own rule, locked rule, who decides, max_session, websocket
FLOORS: dict[str, tuple[str, str, str, int | None, str | None]] = {
    "an allow below an allow": (
        "then: allow, websocket: text", "then: allow", "own", None, "text"),
    "an allow below an ask": (
        "then: allow, websocket: text", "then: ask", "floor", None, "text"),
    "an ask below an allow": ("then: ask", "then: allow", "own", None, None),
    "the smaller limit counts": (
        "then: allow, max_session: 2KB", "then: allow, max_session: 1KB", "own", 1024, None),
    "the own limit counts too": (
        "then: allow, max_session: 1KB", "then: ask, max_session: 2KB", "floor", 1024, None),
    "a limit of one of them": ("then: allow", "then: allow, max_session: 1KB", "own", 1024, None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("own", "floor", "rule", "limit", "websocket"), FLOORS.values(), ids=FLOORS
)
def test_the_rule_that_decides_under_a_locked_layer(
    own: str, floor: str, rule: str, limit: int | None, websocket: str | None
) -> None:
    deciding = deciding_egress(floored(own, floor), request("x.example"))
    assert deciding is not None
    assert (deciding.id, deciding.max_session, deciding.websocket) == (rule, limit, websocket)


def test_a_locked_limit_counts_where_no_own_rule_matches() -> None:
    policy = floored("methods: PUT, then: allow", "then: allow, max_session: 1KB")
    deciding = deciding_egress(policy, request("x.example"))
    assert deciding is not None
    assert deciding.max_session == 1024


def test_a_request_counts_for_a_rule_of_each_layer_by_itself() -> None:
    policy = floored("then: allow, max_session: 1KB", "then: ask, max_session: 2KB")
    budgets = budgets_of(policy, request("x.example"))
    found = [(budget.key, budget.rule.max_session) for budget in budgets]
    assert found == [("own", 1024), ("locked floor", 2048)]
    assert budgets_of(POLICY, request("nobody.example")) == ()


def test_a_locked_limit_for_bodies() -> None:
    policy = floored("then: allow", "then: allow, max_request: 1KB")
    decision = decide_egress(policy, request("x.example", "POST", 2000))
    assert (decision.verdict.word, decision.rule, decision.code) == (
        "deny", "floor", "request_too_large")  # fmt: skip


def test_tokens_are_issued_where_the_deciding_rule_says_so() -> None:
    text = (
        "version: 1\negress: {rules: [{id: r, host: x.example, paths: /token, oauth: true, "
        "then: allow}, {id: rest, host: x.example, then: allow}]}\n"
    )
    policy = load_policy(text, file="p")
    found = [issues_tokens(policy, request(f"x.example{path}")) for path in ("/token", "/other")]
    assert found == [True, False]


REFUSED = {
    "a limit of what is denied": (
        "then: deny, max_request: 1KB", "max_request: what is denied does not go on"),
    "WebSockets of what is denied": (
        "then: deny, websocket: any", "websocket: what is denied does not go on"),
    "WebSockets of another protocol": (
        "then: allow, websocket: any, protocol: http",
        "websocket: no WebSocket meets this rule's protocol"),
    "a port beyond all": ("then: allow, ports: 65536", "less than or equal to 65535"),
    "port zero": ("then: allow, ports: 0", "greater than or equal to 1"),
    "a port in words": ("then: allow, ports: https", "must be a port, 1 to 65535"),
    "a port that is true": ("then: allow, ports: true", "must be text, or a list"),
    "no ports": ("then: allow, ports: []", "must not be empty"),
    "a path with a query": ("then: allow, paths: '/a?b'", "a path begins with / and is plain"),
    "a size without a unit": ("then: allow, max_request: '10'", "a size is a whole number and"),
    "a size of nothing": ("then: allow, max_session: 0KB", "must be at least 1B"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "told"), REFUSED.values(), ids=REFUSED)
def test_rules_that_are_refused(rule: str, told: str) -> None:
    text = f"version: 1\negress: {{rules: [{{id: r, host: x.example, {rule}}}]}}\n"
    with pytest.raises(ConfigError) as caught:
        load_policy(text, file="p")
    assert told in str(caught.value)


@pytest.mark.parametrize("key", ["websocket: text", "dns: true"])
def test_a_locked_rule_opens_nothing(key: str, tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    rule = f"{{id: r, host: x.example, then: ask, {key}}}"
    locked.write_text(f"version: 1\negress: {{rules: [{rule}]}}\n", "utf-8")
    with pytest.raises(ConfigError, match="a locked rule opens nothing"):
        load_policy("version: 1\n", file="p", locked=locked)
