"""CONNECT targets, and the addresses that names resolve to."""

from __future__ import annotations

from typing import Any

import pytest
from judging import call, decide, make_judge, request

from mitmgate.judge.hello import HelloInput
from mitmgate.judge.inputs import ConnectInput, DialInput

CONNECT: dict[str, tuple[str, str | None]] = {
    "a named server": ("files.example:443", None),
    "a host that no rule denies outright": ("anything.example:443", None),
    "no port is 443": ("anything.example", None),
    "no web port": ("anything.example:22", "connect_port"),
    "a name on this machine": ("static.example:51234", None),
    "user information": ("files.example@evil.example:443", "bad_authority"),
    "a number for an address": ("2130706433:443", "bad_authority"),
    "nothing": ("", "bad_authority"),
    "a port that is none": ("files.example:0", "bad_authority"),
}


@pytest.mark.parametrize(("authority", "rule"), CONNECT.values(), ids=CONNECT)
def test_connect(authority: str, rule: str | None) -> None:
    judge = make_judge()
    given = ConnectInput("x", "agent", authority)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    if rule is None:
        assert outcome is None
    else:
        assert outcome is not None
        assert (outcome.verdict.word, outcome.rule, outcome.kind) == ("deny", rule, "connect")
        assert outcome.subject.method == "CONNECT"


def test_shadow_opens_a_port_but_no_name_with_two_readings() -> None:
    judge = make_judge(shadow=True)
    port = decide(judge, ConnectInput("x", "agent", "a.example:22"))
    name = decide(judge, ConnectInput("y", "agent", "2130706433:443"))
    assert (port.effective.word, name.effective.word) == ("allow", "deny")


def dial(*addresses: str, port: int = 443, **rest: Any) -> DialInput:
    return DialInput("x", "agent", "a.example", port, addresses, **rest)


OWN: dict[str, Any] = {"own": (("127.0.0.1", 8080),), "port": 8080, "static": True}
DIAL: dict[str, tuple[DialInput, str | None]] = {
    "a public address": (dial("93.184.215.14"), None),
    "several public addresses": (dial("93.184.215.14", "2606:4700::1"), None),
    "no address": (dial(), "unresolvable"),
    "a private address": (dial("192.168.0.1"), "private_address"),
    "loopback": (dial("127.0.0.1"), "private_address"),
    "loopback in IPv6": (dial("::1"), "private_address"),
    "a private address hidden in IPv6": (dial("::ffff:192.168.0.1"), "private_address"),
    "a private one among public ones, last": (
        dial("93.184.215.14", "10.0.0.1"), "private_address"),
    "a private one among public ones, first": (
        dial("10.0.0.1", "93.184.215.14"), "private_address"),
    "a private network that the policy opens": (dial("10.1.2.3"), None),
    "metadata of a cloud": (dial("169.254.169.254"), "private_address"),
    "a public address that serves metadata": (dial("168.63.129.16"), "private_address"),
    "a text that is no address": (dial("hello"), "private_address"),
    "a name of the policy on this machine": (dial("127.0.0.1", static=True), None),
    "the proxy itself": (dial("127.0.0.1", **OWN), "own_address"),
    "another port of this machine": (dial("127.0.0.1", **{**OWN, "port": 8081}), None),
    "the proxy itself, which listens everywhere": (
        dial("127.0.0.1", **{**OWN, "own": (("0.0.0.0", 8080),)}), "own_address"),
    "the proxy itself in IPv6, which listens everywhere": (
        dial("::1", **{**OWN, "own": (("::", 8080),)}), "own_address"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "code"), DIAL.values(), ids=DIAL)
@pytest.mark.parametrize("shadow", [False, True], ids=["enforced", "shadow"])
def test_dial(given: DialInput, code: str | None, shadow: bool) -> None:
    judge = make_judge(shadow=shadow)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    if code is None:
        assert outcome is None
        return
    assert outcome is not None
    assert (outcome.verdict.word, outcome.code, outcome.kind) == ("deny", code, "dial")
    assert outcome.effective.word == "deny"
    assert not any(address in outcome.agent_reason for address in given.addresses)


def test_a_refused_dial_is_told_in_the_shape_of_its_request() -> None:
    judge = make_judge()
    decide(judge, call("get_x"))
    told = judge.reply(decide(judge, dial("10.0.0.1")), "no")
    assert (told.status, told.content_type) == (200, "application/json")
    decide(judge, request("GET", "docs.example", exchange="y"))
    given = DialInput("y", "agent", "docs.example", 443, ("10.0.0.1",))
    told = judge.reply(decide(judge, given), "no")
    assert (told.status, told.content_type) == (403, "application/problem+json")


def hello(
    authority: str = "pinned.example:443", sni: str | None = "pinned.example", **rest: Any
) -> HelloInput:
    return HelloInput("x", rest.pop("agent", "agent"), authority, sni=sni, **rest)


PINNED = (
    "  rules:\n    - {id: docs,",
    "  rules:\n    - {id: pinned, host: pinned.example, then: allow, inspect: none}\n"
    "    - {id: docs,",
)


def above(rule: str) -> tuple[str, str]:
    """Return the change that puts *rule* above the one for the pinned host."""
    return "    - {id: pinned,", f"    - {rule}\n    - {{id: pinned,"


# What the client says, what else the policy says, and whether TLS stays closed.
HELLO: dict[str, tuple[HelloInput, list[tuple[str, str]], bool]] = {
    "all three names are one": (hello(), [], True),
    "in other spellings": (hello("PINNED.example.:443", "Pinned.Example"), [], True),
    "no port is 443": (hello("pinned.example"), [], True),
    "another name in TLS": (hello(sni="docs.example"), [], False),
    "another name of the tunnel": (hello("docs.example:443"), [], False),
    "a host without such a rule": (hello("docs.example:443", "docs.example"), [], False),
    "no name in TLS": (hello(sni=None), [], False),
    "a name that may be encrypted": (hello(ech=True), [], False),
    "no name at all": (hello("", ""), [], False),
    "a name with two readings": (hello("2130706433:443", "2130706433"), [], False),
    "another web port": (hello("pinned.example:8443"), [], False),
    "no web port": (hello("pinned.example:22"), [], False),
    "a rule above that denies a part": (
        hello(), [above("{id: a, host: pinned.example, paths: /up, then: deny}")], False),
    "a rule above that wants bodies read": (
        hello(), [above('{id: a, host: "*.example", methods: GET, then: allow}')], False),
    "a rule above for another agent": (
        hello(), [above("{id: a, host: pinned.example, agent: other, then: deny}")], True),
    "a rule above that is only noted": (
        hello(), [above("{id: a, host: pinned.example, then: deny, mode: shadow}")], True),
    "the rule is only noted": (hello(), [("inspect: none", "inspect: none, mode: shadow")], False),
    "the rule is for another agent": (hello(), [("inspect: none", "inspect: none, agent: b")],
                                      False),
    "a client without credentials": (
        hello(), [("network:", "network:\n  require_agents: true")], False),
    "a window that is open": (
        hello(now=0.0), [("inspect: none", "inspect: none, time: {from: '00:00', to: '01:00', "
                          "zone: UTC}")], True),
    "a window that has closed": (
        hello(now=7200.0), [("inspect: none", "inspect: none, time: {from: '00:00', to: '01:00', "
                             "zone: UTC}")], False),
}  # fmt: skip


@pytest.mark.parametrize(("given", "changes", "closed"), HELLO.values(), ids=HELLO)
def test_tls_stays_closed(given: HelloInput, changes: list[tuple[str, str]], closed: bool) -> None:
    judge = make_judge(PINNED, *changes)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    if not closed:
        assert outcome is None
        return
    assert outcome is not None
    assert (outcome.verdict.word, outcome.rule, outcome.code, outcome.kind) == (
        "allow", "pinned", "not_inspected", "connect")  # fmt: skip
    subject = outcome.subject
    assert (subject.host, subject.port, subject.endpoint, subject.method) == (
        "pinned.example", 443, "pinned.example:443", "CONNECT")  # fmt: skip
