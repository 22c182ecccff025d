"""What we ship: the starter policy, the list of model APIs, and the page that explains them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy.call import EgressCall
from mitmgate.policy.decide import Call, decide
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.lint import lint
from mitmgate.policy.load import load_policy, starter_policy, starter_text, with_model_api
from mitmgate.policy.models_list import is_model_api, model_apis
from mitmgate.strictyaml import load

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


def call(server: str | None, tool: str) -> str:
    return decide(starter_policy(), Call("agent", server, "tools/call", tool, {})).verdict.word


def egress(host: str, method: str) -> str:
    decision = decide_egress(starter_policy(), EgressCall("agent", host, 443, method, "/"))
    return decision.verdict.word


def test_the_starter_asks_before_anything_but_reads() -> None:
    assert call("github", "get_me") == "allow"
    assert call("github", "create_issue") == "ask"
    assert call("deepwiki", "ask_question") == "allow"
    assert call(None, "get_me") == "ask"
    assert starter_policy().unknown_servers.word == "ask"


def test_the_starter_denies_egress_but_for_reading_documentation() -> None:
    assert egress("docs.python.org", "GET") == "allow"
    assert egress("docs.python.org", "POST") == "deny"
    assert egress("example.com", "GET") == "deny"
    assert egress("api.anthropic.com", "POST") == "deny"


def test_the_starter_has_no_warnings() -> None:
    assert lint(starter_policy(), load(starter_text(), file="starter.yaml")) == []


@pytest.mark.parametrize("host", ["api.anthropic.com", "API.OpenAI.com."])
def test_a_model_api_is_added_and_nothing_else_changes(host: str) -> None:
    changed = with_model_api(starter_text(), host)
    before, after = starter_text().splitlines(), changed.splitlines()
    added = [line for line in after if line not in before]
    assert len(added) == 1
    assert [line for line in after if line != added[0]] == before
    policy = load_policy(changed, file="p")
    name = host.lower().rstrip(".")
    assert decide_egress(policy, EgressCall("a", name, 443, "POST", "/v1")).rule == "model-api"


def test_a_second_model_api_gets_its_own_id() -> None:
    twice = with_model_api(with_model_api(starter_text(), "a.example"), "b.example")
    rules = load_policy(twice, file="p").egress_rules
    assert [rule.id for rule in rules[:2]] == ["model-api-b.example", "model-api"]


@pytest.mark.parametrize("host", ["", "*.example.com", "https://a.example", "a b", 'a", x: "'])
def test_a_model_api_is_one_exact_host(host: str) -> None:
    with pytest.raises(ConfigError, match="model API"):
        with_model_api(starter_text(), host)


@pytest.mark.parametrize(
    "text", ["version: 1\n", "version: 1\negress: {rules: [{id: a, host: x, then: deny}]}\n"]
)
def test_a_policy_without_a_block_of_egress_rules_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigError, match="by hand"):
        with_model_api(text, "a.example")


def test_model_apis_are_listed_once_and_normalised() -> None:
    hosts = [api.host for api in model_apis()]
    assert len(set(hosts)) == len(hosts)
    assert [str(parse_domain_pattern(host)) for host in hosts] == hosts


def test_model_apis_are_recognised() -> None:
    assert is_model_api("api.anthropic.com")
    assert is_model_api("mine.openai.azure.com")
    assert not is_model_api("anthropic.com")
