"""What well-known hosts are for."""

from __future__ import annotations

import pytest

from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy.hosts import TAGS, covered, known_hosts, tags_of
from mitmgate.policy.models_list import is_model_api, model_apis

TAGGED = {
    "a paste": ("pastebin.com", ("carrier",)),
    "a gist": ("gist.github.com", ("carrier",)),
    "the host of the repositories beside it": ("github.com", ("git",)),
    "a name below a webhook catcher": ("0123.x.pipedream.net", ("carrier",)),
    "a resolver": ("dns.google", ("doh",)),
    "a resolver by its address": ("9.9.9.9", ("doh",)),
    "a model API": ("api.anthropic.com", ("model-api",)),
    "documentation": ("docs.python.org", ("docs",)),
    "nothing known": ("host.example", ()),
    "a name that only ends alike": ("notpastebin.com", ()),
}


@pytest.mark.parametrize(("host", "tags"), TAGGED.values(), ids=TAGGED)
def test_tags(host: str, tags: tuple[str, ...]) -> None:
    assert tags_of(host) == tags


def test_the_list_names_each_host_once_and_every_tag() -> None:
    patterns = [(one.tag, str(parse_domain_pattern(one.host))) for one in known_hosts()]
    assert len(patterns) == len(set(patterns))
    assert {tag for tag, _ in patterns} == set(TAGS)


def test_every_model_api_is_tagged() -> None:
    for api in model_apis():
        host = api.host.replace("*", "x")
        assert is_model_api(host)
        assert "model-api" in tags_of(host)


def test_what_a_pattern_may_be_about() -> None:
    def names(*patterns: str) -> list[str]:
        hosts = DomainSet.of(map(parse_domain_pattern, patterns))
        return [one.host for one in covered(hosts, "carrier")]

    assert names("*.github.com") == ["gist.github.com"]
    assert names("x.ngrok.io") == ["*.ngrok.io"]
    assert names("*.x.ngrok.io") == ["*.ngrok.io"]
    assert names("docs.example") == []
