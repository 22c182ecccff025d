"""OAuth of MCP servers: open where their metadata and `auth` say; its credentials belong there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from judging import (
    KEY,
    POLICY,
    answer,
    call,
    decide,
    make_judge,
    request,
    scanner,
    settled,
    with_scan,
)

from mitmgate.judge.bodies import encode_body
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import load_policy
from mitmgate.policy.loosening import loosened
from mitmgate.record.redact import Redactor
from mitmgate.wire.http import AnswerHead, Headers

FORM: Headers = (("content-type", "application/x-www-form-urlencoded"),)
RESOURCE = "/.well-known/oauth-protected-resource/mcp"
ISSUER = "/.well-known/oauth-authorization-server"
AUTH = "auth.example"
OPEN = "- {id: model", "- {id: auth, host: auth.example, then: allow}\n    - {id: model"
TRUSTED = (OPEN[0], OPEN[1].replace("then", "oauth: true, then", 1))


def told(judge: Judge, host: str, target: str, document: Any) -> None:
    """Let the client GET *document* from *host*."""
    decide(judge, request("GET", host, target, headers=(), exchange="m"))
    decide(judge, answer(document, exchange="m"))


def discovered(judge: Judge) -> None:
    """Let the client find the token endpoint of the named server, as the SDKs do."""
    decide(judge, call("get_x"))
    told(judge, "files.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]})
    told(judge, AUTH, ISSUER, {"issuer": f"https://{AUTH}/", "token_endpoint":
                               f"https://{AUTH}/token"})  # fmt: skip


def grant(target: str = "/token", form: str = "", host: str = AUTH) -> Any:
    body = form or f"grant_type=client_credentials&client_assertion={KEY}"
    return request("POST", host, target, body.encode(), FORM, exchange="t")


def test_an_assertion_passes_to_the_token_endpoint_that_the_server_led_to() -> None:
    judge = make_judge(OPEN)
    assert decide(judge, grant()).rule == "scan.secrets"
    discovered(judge)
    outcome = decide(judge, grant())
    assert (outcome.verdict.word, outcome.rule, outcome.findings) == ("allow", "auth", ())


ELSEWHERE: dict[str, Any] = {
    "another path of the same host": grant("/upload"),
    "a form that is no token request": grant(form=f"note={KEY}"),
    "a form with two grants": grant(form=f"grant_type=a&grant_type=b&x={KEY}"),
    "a body that is no form": grant(form=f'{{"grant_type": "{KEY}"}}'),
    "the query of the token endpoint": grant(f"/token?key={KEY}", "grant_type=a"),
    "another host": grant(host="docs.example"),
}


@pytest.mark.parametrize("given", ELSEWHERE.values(), ids=ELSEWHERE)
def test_it_does_not_pass_in(given: Any) -> None:
    judge = make_judge(OPEN)
    discovered(judge)
    outcome = decide(judge, given)
    assert (outcome.verdict.word, outcome.rule) == ("deny", "scan.secrets")


# Without any egress rule


FILES = 'files: {url: "https://files.example/mcp"'
AUTHORIZED = (FILES, f'{FILES}, auth: [auth.example, "*.login.example"]')
REGISTRATION = b'{"redirect_uris": ["http://localhost/cb"], "client_name": "agent"}'
ENDPOINTS = {"issuer": "https://auth.example/", "token_endpoint": "https://auth.example/token",
             "registration_endpoint": "https://auth.example/reg",
             "revocation_endpoint": "https://auth.example/revoke",
             "jwks_uri": "https://auth.example/keys",
             "authorization_endpoint": "https://auth.example/authorize"}  # fmt: skip


def led(judge: Judge, document: Any = ENDPOINTS) -> None:
    """Let the client find everything of the authorization server, as the SDKs do."""
    decide(judge, call("get_x"))
    told(judge, "files.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]})
    told(judge, AUTH, ISSUER, document)


def form(target: str, text: str, host: str = AUTH) -> Any:
    return request("POST", host, target, text.encode(), FORM, exchange="t")


def read(target: str, host: str = AUTH) -> Any:
    return request("GET", host, target, headers=(), exchange="t")


PASSING: dict[str, tuple[Any, str]] = {
    "a token request": (grant(), "token"),
    "a refresh": (grant(form=f"grant_type=refresh_token&refresh_token={KEY}"), "token"),
    "a registration": (request("POST", AUTH, "/reg", REGISTRATION, exchange="t"), "register"),
    "a revocation": (form("/revoke", f"token={KEY}"), "revoke"),
    "the keys": (read("/keys"), "jwks"),
    "the page to log in": (read("/authorize?state=x"), "authorize"),
    "metadata": (read(ISSUER), "metadata"),
    "metadata at the origin of the server": (read(RESOURCE, "files.example"), "metadata"),
    "a preflight": (request("OPTIONS", AUTH, "/reg", headers=(), exchange="t"), "register"),
}


@pytest.mark.parametrize(("given", "role"), PASSING.values(), ids=PASSING)
def test_the_oauth_of_a_named_server_passes_at_the_hosts_of_its_auth(given: Any, role: str) -> None:
    judge = make_judge(AUTHORIZED)
    led(judge)
    outcome = decide(judge, given)
    assert (outcome.verdict.word, outcome.code, outcome.findings) == ("allow", "housekeeping", ())
    subject = outcome.subject
    assert (subject.channel, subject.server) == ("egress", "files")
    assert (subject.protocol, subject.tool) == ("oauth", f"oauth:{role}")


STOPPED: dict[str, Any] = {
    "another method": request("PUT", AUTH, "/token", b"grant_type=a", FORM, exchange="t"),
    "a form that is no token request": form("/token", "note=x"),
    "a token request with a query": grant("/token?x=1", "grant_type=a"),
    "a registration that is no JSON": form("/reg", "a=b"),
    "keys with a query": read("/keys?x=1"),
    "a path with two readings": grant("/x/../token"),
    "more than any request has": grant(form="grant_type=a&x=" + "a" * 65_536),
    "a larger registration": request("POST", AUTH, "/reg", b"{%s}" % (b" " * 65_536), exchange="t"),
    "another host": grant(host="docs.example2"),
    "a look at the host": read("/"),
}


@pytest.mark.parametrize("given", STOPPED.values(), ids=STOPPED)
def test_nothing_else_passes_there(given: Any) -> None:
    judge = make_judge(AUTHORIZED)
    led(judge)
    outcome = decide(judge, given)
    assert (outcome.verdict.word, outcome.rule) == ("deny", "otherwise")


def test_a_host_that_only_the_metadata_names_is_open_for_what_it_names() -> None:
    judge = make_judge()
    led(judge)
    settled(judge, read(ISSUER), "allow")
    told(judge, AUTH, ISSUER, ENDPOINTS)
    assert decide(judge, grant("/token")).verdict.word == "allow"
    outcome = decide(judge, grant("/upload"))
    assert (outcome.verdict.word, outcome.rule) == ("deny", "otherwise")


def test_a_token_request_passes_at_a_host_of_auth_before_anything_was_learned() -> None:
    judge = make_judge(AUTHORIZED)
    assert decide(judge, grant("/any", host="eu.login.example")).verdict.word == "allow"
    assert decide(judge, read(ISSUER)).verdict.word == "allow"
    assert decide(judge, grant("/any", host="login.example")).rule == "otherwise"


def test_a_host_that_only_the_metadata_names_asks_once() -> None:
    judge = make_judge()
    led(judge)
    asked = decide(judge, read(ISSUER))
    assert (asked.verdict.word, asked.rule, asked.code) == ("ask", "auth_host", "otherwise")
    assert asked.question == "auth agent files https://auth.example:443"
    assert settled(judge, read(ISSUER), "allow").verdict.word == "allow"
    told(judge, AUTH, ISSUER, ENDPOINTS)
    assert decide(judge, grant()).verdict.word == "allow"


def test_a_host_that_was_denied_stays_denied() -> None:
    judge = make_judge()
    led(judge)
    assert settled(judge, read(ISSUER), "deny").verdict.word == "deny"
    assert decide(judge, read(ISSUER)).rule == "auth_host"


def test_an_egress_rule_comes_first() -> None:
    refusing = ("- {id: model", "- {id: no-auth, host: auth.example, then: deny}\n    - {id: model")
    judge = make_judge(AUTHORIZED, refusing)
    led(judge)
    outcome = decide(judge, grant())
    assert (outcome.verdict.word, outcome.rule) == ("deny", "no-auth")
    assert outcome.subject.server == "files"


def test_the_locked_layer_has_the_last_word(tmp_path: Path) -> None:
    floor = tmp_path / "locked.yaml"
    floor.write_text("version: 1\negress:\n  rules: [{id: f, host: auth.example, then: ask}]\n")
    text = POLICY.replace(*AUTHORIZED)
    judge = Judge(load_policy(text, file="p.yaml", locked=floor), scanner())
    led(judge)
    assert decide(judge, grant()).verdict.word == "deny"


def test_another_host_in_auth_is_told_to_the_operator() -> None:
    none, one = make_judge().policy, make_judge(AUTHORIZED).policy
    assert loosened(none, one) == ("server files has another host in auth",)
    assert loosened(one, none) == ()


def test_the_metadata_may_be_where_the_challenge_says() -> None:
    judge = make_judge(AUTHORIZED)
    place = "https://files.example/meta"
    challenge = ("www-authenticate", f'Bearer error="x", resource_metadata="{place}", scope="a"')
    decide(judge, call("get_x", exchange="c"))
    decide(judge, answer(b"", status=401, headers=(challenge,), exchange="c"))
    assert decide(judge, read("/meta", "files.example")).subject.tool == "oauth:metadata"
    told(judge, "files.example", "/meta", {"authorization_servers": ["https://auth.example"]})
    assert decide(judge, read(ISSUER)).verdict.word == "allow"


def test_the_default_endpoints_of_an_old_server_are_on_its_origin() -> None:
    judge = make_judge()
    assert decide(judge, grant(host="files.example")).verdict.word == "deny"
    decide(judge, call("get_x"))
    assert decide(judge, grant(host="files.example")).verdict.word == "allow"


def test_a_server_without_a_name_opens_nothing() -> None:
    judge = make_judge()
    settled(judge, call("get_x", host="other.example"), "allow")
    told(judge, "other.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]})
    assert decide(judge, read(ISSUER)).rule == "otherwise"


def test_tokens_in_the_answer_are_no_finding_and_the_answer_is_bounded() -> None:
    judge = make_judge(AUTHORIZED, with_scan("{secrets: {egress_response: deny}}"))
    led(judge)
    decide(judge, grant())
    outcome = decide(judge, answer({"access_token": KEY, "token_type": "bearer"}, exchange="t"))
    assert (outcome.verdict.word, outcome.findings) == ("allow", ())
    decide(judge, grant())
    large = decide(judge, answer({"access_token": "a" * 1024 * 1024}, exchange="t"))
    assert (large.verdict.word, large.code) == ("deny", "body_too_large")


def test_bait_is_found_there_all_the_same() -> None:
    judge = make_judge(AUTHORIZED)
    led(judge)
    headers = (("content-type", "application/json"), ("x-note", KEY))
    note = request("POST", AUTH, "/reg", b'{"client_name": "x"}', headers, exchange="t")
    assert decide(judge, note).rule == "scan.secrets"


GISTS = "- {id: model", "- {id: gists, host: gists.example, then: allow}\n    - {id: model"
GISTS_ASKED = GISTS[0], GISTS[1].replace("then: allow", "methods: PUT, then: allow")
NAMED = {**ENDPOINTS, "registration_endpoint": "https://gists.example/gists"}


def gist(note: str = KEY) -> Any:
    body = f'{{"client_name": "{note}"}}'.encode()
    return request("POST", "gists.example", "/gists", body, exchange="t")


def test_metadata_alone_does_not_open_a_host_of_a_rule_for_secrets() -> None:
    judge = make_judge(AUTHORIZED, GISTS)
    led(judge, NAMED)
    outcome = decide(judge, gist())
    assert (outcome.verdict.word, outcome.rule, len(outcome.findings)) == (
        "deny", "scan.secrets", 1)  # fmt: skip
    assert outcome.subject.protocol is None


def test_nor_for_what_such_a_host_answers() -> None:
    judge = make_judge(AUTHORIZED, GISTS, with_scan("{secrets: {egress_response: deny}}"))
    led(judge, NAMED)
    assert decide(judge, gist("x")).rule == "gists"
    assert decide(judge, answer({"access_token": KEY}, exchange="t")).rule == "scan.secrets"


def test_once_a_person_approved_the_host_it_carries_credentials() -> None:
    judge = make_judge(AUTHORIZED, GISTS_ASKED, with_scan("{secrets: {egress_response: deny}}"))
    led(judge, NAMED)
    assert decide(judge, gist()).rule == "scan.secrets"
    asked = settled(judge, gist("x"), "allow")
    assert (asked.verdict.word, asked.subject.protocol) == ("allow", "oauth")
    outcome = decide(judge, gist())
    assert (outcome.verdict.word, outcome.rule, outcome.findings) == ("allow", "auth_host", ())
    assert decide(judge, answer({"access_token": KEY}, exchange="t")).findings == ()


CONFIGURATION = read("/.well-known/openid-configuration/A", "files.example")
RULE = "- {id: model", "- {id: own, host: files.example, %s}\n    - {id: model"


def test_a_rule_that_denies_the_host_of_a_server_denies_its_metadata() -> None:
    judge = make_judge((RULE[0], RULE[1] % "then: deny"))
    outcome = decide(judge, CONFIGURATION)
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("deny", "own", "rule")


def test_a_limit_of_a_rule_holds_for_metadata() -> None:
    judge = make_judge((RULE[0], RULE[1] % "then: allow, max_session: 1B"))
    outcome = decide(judge, CONFIGURATION)
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("deny", "own", "session_budget")


def test_a_websocket_is_no_metadata() -> None:
    headers = (("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
    target = "/.well-known/oauth-protected-resource"
    outcome = decide(make_judge(), request("GET", "files.example", target, headers=headers))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == (
        "deny", "otherwise", "otherwise")  # fmt: skip


@pytest.mark.parametrize("word", ["deny", "ask"])
def test_the_locked_layer_has_the_last_word_on_metadata(word: str, tmp_path: Path) -> None:
    floor = tmp_path / "locked.yaml"
    floor.write_text(
        f"version: 1\negress:\n  rules: [{{id: f, host: files.example, then: {word}}}]\n"
    )
    judge = Judge(load_policy(POLICY, file="p.yaml", locked=floor), scanner())
    assert decide(judge, CONFIGURATION).verdict.word == "deny"


BODIES: dict[str, tuple[str, str]] = {
    "a token request": ("application/x-www-form-urlencoded", "grant_type=x&code=abc"),
    "a revocation": ("application/x-www-form-urlencoded", "token_type_hint=a&token=abc"),
    "a token": ("application/json", '{"access_token": "abc", "token_type": "bearer"}'),
    "a registered client": ("application/json", '{"client_id": "a", "client_secret": "abc"}'),
}


@pytest.mark.parametrize(("media", "text"), BODIES.values(), ids=BODIES)
def test_a_capture_holds_the_length_of_it_and_nothing_else(media: str, text: str) -> None:
    redactor = Redactor(scanner(), key=b"k" * 32)
    head = AnswerHead(200, (("content-type", media),))
    stored = encode_body(text.encode(), head=head, cut=False, redactor=redactor)
    assert stored.record == {"length": len(text), "incomplete": "oauth"}


CHAINS: dict[str, list[tuple[str, str, Any]]] = {
    "metadata of a host that no MCP server named": [
        (AUTH, ISSUER, {"token_endpoint": f"https://{AUTH}/token"})],
    "a resource that no MCP message went to": [
        ("docs.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]}),
        (AUTH, ISSUER, {"token_endpoint": f"https://{AUTH}/token"})],
    "a document at another path": [
        ("files.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]}),
        (AUTH, "/metadata.json", {"token_endpoint": f"https://{AUTH}/token"})],
    "odd shapes": [
        ("files.example", RESOURCE, {"authorization_servers": [1, None, "x", "https://[::1", {}]}),
        ("files.example", RESOURCE, [1]), (AUTH, ISSUER, {"token_endpoint": 3})],
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_nothing_is_learned_from(chain: list[tuple[str, str, Any]]) -> None:
    judge = make_judge(OPEN)
    decide(judge, call("get_x"))
    for host, target, document in chain:
        told(judge, host, target, document)
    assert decide(judge, grant()).rule == "scan.secrets"


def test_a_rule_may_say_that_its_host_issues_tokens() -> None:
    judge = make_judge(TRUSTED)
    assert decide(judge, grant()).rule == "auth"
    assert decide(judge, grant(form=f"note={KEY}")).rule == "scan.secrets"
