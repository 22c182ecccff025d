"""Headers that have a server do something else than the request line says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import JSON, message, post, request, scanner

from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import Headers

POLICY = """\
version: 1
servers:
  files: {url: "https://files.example/mcp"}
mcp: {otherwise: allow}
egress:
  rules:
    - {id: read, host: read.example, methods: [GET, POST], then: allow}
    - {id: few, host: read.example, methods: PUT, max_session: 1MB, then: allow}
    - {id: no-admin, host: docs.example, paths: /admin, then: deny}
    - {id: v1, host: api.example, paths: /v1, then: allow}
    - {id: all, host: [docs.example, files.example], then: allow}
    - {id: asked, host: asked.example, then: ask}
"""


def judged(given: RequestInput, policy: str = POLICY, *, shadow: bool = False) -> Outcome:
    judge = Judge(load_policy(policy, file="p"), scanner(), shadow=shadow)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    assert outcome is not None
    return outcome


def sent(url: str, *headers: tuple[str, str], method: str = "POST") -> RequestInput:
    host, slash, path = url.partition("/")
    return request(method, host, slash + path, headers=headers)


METHOD, PATH = "x-http-method-override", "x-original-url"
# sentence: the request, and the header that it is refused for
REFUSED: dict[str, tuple[str, str, str]] = {
    "a method that no rule is for": ("read.example/", METHOD, "DELETE"),
    "in small letters": ("read.example/", METHOD, "delete"),
    "with blanks": ("read.example/", METHOD, " DELETE\t"),
    "with another header": ("read.example/", "x-http-method", "DELETE"),
    "with the third header": ("read.example/", "x-method-override", "DELETE"),
    "with underscores": ("read.example/", "x_http_method_override", "DELETE"),
    "with a dash and underscores": ("read.example/", "x-http_method_override", "DELETE"),
    "a method of another rule": ("read.example/", METHOD, "PUT"),
    "a list of methods": ("docs.example/", METHOD, "DELETE, GET"),
    "no method at all": ("docs.example/", METHOD, ""),
    "a path that a rule denies": ("docs.example/", PATH, "/admin"),
    "a path that a rule denies, with a query": ("docs.example/", PATH, "/admin?x"),
    "a path that a rule denies, escaped": ("docs.example/", PATH, "/%61dmin"),
    "a path that a rule denies, with dots": ("docs.example/", PATH, "/x/../admin"),
    "a path that a rule denies, with the other header": (
        "docs.example/", "x-rewrite-url", "/admin"),
    "a path beside the one that is open": ("api.example/v1", PATH, "/admin"),
    "a URL": ("docs.example/", PATH, "https://docs.example/admin"),
    "a path without its slash": ("docs.example/", PATH, "admin"),
    "a path with a space": ("docs.example/", PATH, "/a b"),
    "the path of an MCP server": ("files.example/x", PATH, "/mcp"),
    "what a person is asked about": ("asked.example/", METHOD, "DELETE"),
}  # fmt: skip


@pytest.mark.parametrize(("url", "name", "value"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("shadow", [False, True])
def test_a_header_that_other_rules_are_for(url: str, name: str, value: str, shadow: bool) -> None:
    outcome = judged(sent(url, (name, value)), shadow=shadow)
    assert (outcome.code, outcome.rule) == ("override_refused", "override_refused")
    assert outcome.effective is Verdict.DENY
    assert "no such header" in outcome.agent_reason
    assert judged(sent(url), shadow=shadow).code == "rule"


@pytest.mark.parametrize("headers", [
    ((METHOD, "DELETE"), (METHOD, "DELETE")),
    ((METHOD, "DELETE"), ("x_http_method_override", "GET")),
    ((METHOD, "GET"), ("x-method-override", "DELETE,")),
    ((PATH, "/v1"), ("x-rewrite-url", "/admin")),
])  # fmt: skip
def test_of_many_headers_each_counts(headers: Headers) -> None:
    assert judged(sent("docs.example/", *headers)).code == "override_refused"


PASSED: dict[str, tuple[str, str, str]] = {
    "the method that is sent": ("read.example/", METHOD, "POST"),
    "a method of the same rule": ("read.example/", METHOD, "GET"),
    "any method where the rule names none": ("docs.example/", METHOD, "PATCH"),
    "the path that is sent": ("api.example/v1", PATH, "/v1"),
    "a path of the same rule": ("api.example/v1", PATH, "/v1/x?y=z"),
}


@pytest.mark.parametrize(("url", "name", "value"), PASSED.values(), ids=PASSED)
def test_a_header_that_changes_nothing(url: str, name: str, value: str) -> None:
    outcome = judged(sent(url, (name, value)))
    assert (outcome.verdict.word, outcome.code) == ("allow", "rule")


def test_what_is_denied_keeps_its_reason() -> None:
    outcome = judged(sent("docs.example/admin", (PATH, "/")))
    assert (outcome.code, outcome.rule) == ("rule", "no-admin")


def test_no_message_of_mcp_has_such_a_header() -> None:
    headers = (*JSON, (METHOD, "DELETE"))
    ping = post(message("ping"), "files.example", headers)
    outcome = judged(ping)
    assert (outcome.subject.channel, outcome.code) == ("mcp", "override_refused")
    assert judged(post(message("ping"), "files.example")).verdict is Verdict.ALLOW


def test_metadata_of_a_server_leads_to_no_other_path() -> None:
    url, policy = "files.example/.well-known/openid-configuration", POLICY.replace(", files", ", x")
    outcome = judged(sent(url, (PATH, "/private"), method="GET"), policy)
    assert outcome.code == "override_refused"
    assert judged(sent(url, method="GET"), policy).code == "housekeeping"


@pytest.mark.parametrize("value", ["DELETE", "DELETE, GET"])
def test_a_locked_rule_stops_it_in_shadow_mode_too(value: str, tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text("version: 1\negress: {rules: [{id: keep, host: x.example, methods: DELETE,"
                      " then: deny}]}\n")  # fmt: skip
    policy = load_policy("version: 1\negress: {rules: []}\n", file="p", locked=locked)
    judge = Judge(policy, scanner(), shadow=True)

    def effective(*headers: tuple[str, str]) -> Verdict:
        outcome = judge.conclude(judge.prepare(sent("x.example/", *headers)), now=0.0)
        assert outcome is not None
        return outcome.effective

    assert effective((METHOD, value)) is Verdict.DENY
    assert effective() is Verdict.ALLOW


def test_a_locked_limit_is_not_got_around(tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text("version: 1\negress: {rules: [{id: few, host: x.example, methods: PUT,"
                      " max_session: 1MB, then: allow}]}\n")  # fmt: skip
    text = "version: 1\negress: {rules: [{id: own, host: x.example, then: allow}]}\n"
    judge = Judge(load_policy(text, file="p", locked=locked), scanner())

    def code(value: str) -> str:
        given = sent("x.example/", (METHOD, value))
        outcome = judge.conclude(judge.prepare(given), now=0.0)
        assert outcome is not None
        return outcome.code

    assert (code("PUT"), code("PATCH")) == ("override_refused", "rule")


def test_shadow_mode_stops_nothing_that_the_rules_deny_both_ways() -> None:
    outcome = judged(sent("closed.example/", (METHOD, "PATCH")), shadow=True)
    assert (outcome.verdict, outcome.effective) == (Verdict.DENY, Verdict.ALLOW)


def test_a_secret_in_such_a_header_is_not_repeated() -> None:
    outcome = judged(sent("docs.example/", (METHOD, "HUNTERTWO"), (METHOD, "x")))
    assert "HUNTERTWO" not in outcome.reason + outcome.agent_reason


@given(
    name=st.sampled_from([METHOD, "X_HTTP_METHOD".lower(), "x-method-override"]),
    value=st.text(st.characters(max_codepoint=255), max_size=8),
)
def test_nothing_but_the_methods_of_the_rule_passes(name: str, value: str) -> None:
    passes = value.strip().upper() in ("GET", "POST")
    outcome = judged(sent("read.example/", (name, value)))
    if outcome.code == "malformed_request":
        return
    assert (outcome.verdict is Verdict.ALLOW) is passes
