"""Credentials of OAuth are at home at token endpoints, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from judging import KEY, answer, call, decide, make_judge, request

from mitmgate.judge.judge import Judge
from mitmgate.wire.http import Headers

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


def test_an_egress_rule_is_still_needed() -> None:
    judge = make_judge()
    decide(judge, call("get_x"))
    told(judge, "files.example", RESOURCE, {"authorization_servers": [f"https://{AUTH}/"]})
    assert decide(judge, grant()).rule == "otherwise"


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
