"""What a rule leaves unread: what is refused, what is warned of, and where TLS stays closed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import deciding_egress, uninspected
from mitmgate.policy.lint import lint
from mitmgate.policy.load import load_policy
from mitmgate.policy.trace import trace_egress
from mitmgate.strictyaml import load


def text_of(rules: str, more: str = "") -> str:
    return f"version: 1\n{more}egress: {{rules: [{rules}]}}\n"


def rule_of(rule: str) -> str:
    return f"{{id: r, host: x.example, {rule}}}"


def tunnel(host: str = "x.example", port: int = 443) -> EgressCall:
    return EgressCall("agent", host, port, "CONNECT", "/")


REFUSED = {
    "a denial that reads less": (
        rule_of("then: deny, inspect: headers"), "inspect: what is denied does not go on"),
    "a denial that reads nothing": (
        rule_of("then: deny, inspect: none"), "inspect: what is denied does not go on"),
    "an ask with TLS closed": (
        rule_of("then: ask, inspect: none"), "nothing can wait where TLS stays closed"),
    "methods behind closed TLS": (
        rule_of("then: allow, methods: GET, inspect: none"), "so nobody sees methods"),
    "paths behind closed TLS": (
        rule_of("then: allow, paths: /a, inspect: none"), "so nobody sees paths"),
    "a protocol behind closed TLS": (
        rule_of("then: allow, protocol: a2a, inspect: none"), "so nobody sees protocol"),
    "a size behind closed TLS": (
        rule_of("then: allow, max_request: 1KB, inspect: none"), "so nobody sees max_request"),
    "a budget behind closed TLS": (
        rule_of("then: allow, max_session: 1KB, inspect: none"), "so nobody sees max_session"),
    "WebSockets behind closed TLS": (
        rule_of("then: allow, websocket: any, inspect: none"), "so nobody sees websocket"),
    "a passthrough with a budget": (
        rule_of("then: allow, max_session: 1MB, inspect: none"), "so nobody sees max_session"),
    "DNS behind closed TLS": (
        rule_of("then: allow, dns: true, inspect: none"), "so nobody sees dns"),
    "tokens behind closed TLS": (
        rule_of("then: allow, oauth: true, inspect: none"), "so nobody sees oauth"),
    "TLS closed for every name of a domain": (
        '{id: r, host: "*.x.example", then: allow, inspect: none}',
        "*.x.example is no exact name, and inspect: none needs one"),
    "TLS closed on another port": (
        rule_of("then: allow, ports: [443, 8443], inspect: none"),
        "TLS stays closed on port 443 only"),
    "another word": (rule_of("then: allow, inspect: nothing"), "must be 'body', 'headers' or"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "told"), REFUSED.values(), ids=REFUSED)
def test_rules_that_are_refused(rule: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy(text_of(rule), file="p")
    assert told in str(caught.value)


def test_tls_to_an_mcp_server_does_not_stay_closed() -> None:
    text = text_of(
        "{id: r, host: [y.example, X.example.], then: allow, inspect: none}",
        'servers: {fs: {url: "https://x.example/mcp"}}\n',
    )
    with pytest.raises(ConfigError, match="is the host of server fs, whose calls are judged"):
        load_policy(text, file="p")


@pytest.mark.parametrize("word", ["headers", "none"])
def test_a_locked_rule_leaves_nothing_unread(word: str, tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text(text_of(rule_of(f"then: allow, inspect: {word}")), "utf-8")
    with pytest.raises(ConfigError, match="a locked rule opens nothing"):
        load_policy("version: 1\n", file="p", locked=locked)


# sentence: rules of the policy, of the locked layer, whether TLS stays closed
OTHERS = "{id: two, host: x.example, "
NONE = rule_of("then: allow, inspect: none")
CLOSED: dict[str, tuple[str, str, bool]] = {
    "the only rule of a host": (NONE, "", True),
    "another host": ("{id: r, host: y.example, then: allow, inspect: none}", "", False),
    "a rule that reads the heads": (rule_of("then: allow, inspect: headers"), "", False),
    "a rule above for some requests": (
        f"{OTHERS}methods: POST, then: deny}}, {NONE}", "", False),
    "a rule above for another port": (
        f"{OTHERS}ports: 80, methods: POST, then: deny}}, {NONE}", "", True),
    "a rule above for another agent": (
        f'{OTHERS}agent: "10.*", methods: POST, then: deny}}, {NONE}', "", True),
    "a rule above in shadow mode": (
        f"{OTHERS}methods: POST, mode: shadow, then: deny}}, {NONE}", "", True),
    "a rule below": (f"{NONE}, {OTHERS}methods: POST, then: deny}}", "", True),
    "in shadow mode": (rule_of("then: allow, inspect: none, mode: shadow"), "", False),
    "for another agent": (rule_of('then: allow, inspect: none, agent: "10.*"'), "", False),
    "a locked rule that denies some requests": (
        NONE, f"{OTHERS}paths: /a, then: deny}}", False),
    "a locked rule that asks": (NONE, f"{OTHERS}then: ask}}", False),
    "a locked rule that allows some requests": (
        NONE, f"{OTHERS}methods: GET, then: allow}}", True),
    "a locked rule that allows above one that denies": (
        NONE, f"{OTHERS}then: allow}}, {rule_of('methods: PUT, then: deny')}", True),
    "a locked rule that allows some above one that denies": (
        NONE, f"{OTHERS}methods: GET, then: allow}}, {rule_of('methods: PUT, then: deny')}", False),
    "a locked rule with a limit for bodies": (
        NONE, f"{OTHERS}then: allow, max_request: 1KB}}", False),
    "a locked rule with a budget": (NONE, f"{OTHERS}then: allow, max_session: 1KB}}", False),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "floor", "closed"), CLOSED.values(), ids=CLOSED)
def test_where_tls_stays_closed(rules: str, floor: str, closed: bool) -> None:
    policy, locked = (load_policy(text_of(one), file="p") for one in (rules, floor))
    policy = dataclasses.replace(policy, locked_egress=locked.egress_rules)
    assert (uninspected(policy, tunnel()) is not None) is closed


def test_tls_stays_closed_on_443_only_but_for_names_of_this_machine() -> None:
    policy = load_policy(text_of(NONE), file="p")
    assert [uninspected(policy, tunnel(port=port)) is None for port in (443, 8443, 80)] == [
        False, True, True]  # fmt: skip
    local = load_policy(text_of(NONE, "network: {resolve: {x.example: 127.0.0.1}}\n"), file="p")
    assert uninspected(local, tunnel(port=51234)) is not None


def test_a_floor_that_decides_reads_what_the_own_rule_says() -> None:
    own, floor = rule_of("then: allow, inspect: headers"), rule_of("then: ask")
    policy, locked = (load_policy(text_of(one), file="p") for one in (own, floor))
    policy = dataclasses.replace(policy, locked_egress=locked.egress_rules)
    found = deciding_egress(policy, tunnel())
    assert found is not None
    assert (found.verdict.word, found.inspect) == ("ask", "headers")
    alone = deciding_egress(dataclasses.replace(policy, egress_rules=()), tunnel())
    assert alone is not None
    assert alone.inspect == "body"


WHYS = {
    "body": "every condition holds",
    "headers": "every condition holds, and of a body above 32 MiB only the head is read",
    "none": "every condition holds, and TLS is not opened where CONNECT and TLS name this host",
}


@pytest.mark.parametrize(("word", "why"), WHYS.items(), ids=WHYS)
def test_what_is_explained(word: str, why: str) -> None:
    policy = load_policy(text_of(rule_of(f"then: allow, inspect: {word}")), file="p")
    assert [step.why for step in trace_egress(policy, tunnel())] == [why]


WARNED = {
    "heads of all methods": (
        rule_of("then: allow, inspect: headers"),
        "rule r lets large uploads out unread, by every method"),
    "heads of downloads": (rule_of("then: allow, methods: GET, inspect: headers"), None),
    "a rule above for some requests": (
        f"{OTHERS}methods: POST, then: deny}}, {NONE}",
        "rule r keeps no TLS closed: two, above it, may be for some requests to these hosts"),
    "a rule above for another agent": (
        f'{OTHERS}agent: "10.*", methods: POST, then: deny}}, {NONE}', None),
    "closed": (NONE, None),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "told"), WARNED.values(), ids=WARNED)
def test_what_is_warned_of(rules: str, told: str | None) -> None:
    text = text_of(rules)
    found = [one.message for one in lint(load_policy(text, file="p"), load(text, file="p"))]
    assert len(found) == (told is not None), found
    assert all(told and told in one for one in found)
