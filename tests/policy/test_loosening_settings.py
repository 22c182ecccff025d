"""What a changed policy may let through beside its rules: settings, network, agents, servers."""

from __future__ import annotations

import pytest

from mitmgate.policy.agents import hash_token
from mitmgate.policy.load import load_policy
from mitmgate.policy.loosening import loosened

SERVERS = """\
version: 1
servers: {a: {url: "https://a.example/mcp"}, b: {url: "https://b.example/mcp"}}
"""
TOKENS = [hash_token(f"made here {number}") for number in range(2)]
NOTHING: tuple[str, ...] = ()


def with_agents(text: str) -> str:
    return f"{SERVERS}agents: {text}\n"


CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "otherwise that is laxer": (
        "version: 1\nmcp: {otherwise: deny}\n", "version: 1\n", ("mcp.otherwise: ask, was deny",)),
    "otherwise that is stricter": (
        "version: 1\n", "version: 1\nmcp: {otherwise: deny}\n", NOTHING),
    "egress.otherwise that is laxer": (
        "version: 1\n", "version: 1\negress: {otherwise: allow}\n",
        ("egress.otherwise: allow, was deny",)),
    "unknown servers": (
        "version: 1\n", "version: 1\nmcp: {unknown_servers: allow}\n",
        ("mcp.unknown_servers: allow, was ask",)),
    "shadow mode for all": (
        "version: 1\n", "version: 1\nmode: shadow\n", ("mode is shadow",)),
    "the end of shadow mode": ("version: 1\nmode: shadow\n", "version: 1\n", NOTHING),
    "calls that wait with nobody there": (
        "version: 1\n", "version: 1\nhold: {unattended: wait}\n", ("hold.unattended waits",)),
    "to wait longer lets nothing through by itself": (
        "version: 1\n", "version: 1\nhold: {wait: 1h}\n", NOTHING),
    "tickets and approvals that last longer, denials that last shorter": (
        "version: 1\n", "version: 1\nhold: {ticket: 11m, allow_for: 16m, deny_for: 59m}\n",
        ("hold.ticket: 660 s, was 600 s", "hold.allow_for: 960 s, was 900 s",
         "hold.deny_for: 3540 s, was 3600 s")),
    "tickets and approvals that last shorter, denials that last longer": (
        "version: 1\n", "version: 1\nhold: {ticket: 9m, allow_for: 14m, deny_for: 24h}\n", NOTHING),
    "a rule that waits longer lets nothing through by itself": (
        "version: 1\nmcp: {rules: [{id: a, tool: a, then: ask}], otherwise: deny}\n",
        "version: 1\nmcp: {rules: [{id: a, tool: a, then: ask, hold: {wait: 1h}}], otherwise: deny}"
        "\n", NOTHING),
    "a finding that is only logged": (
        "version: 1\n", "version: 1\nscan: {secrets: {arguments: log}}\n",
        ("scan.secrets.arguments: log, was deny",)),
    "a finding that is asked about instead of redacted": (
        "version: 1\n", "version: 1\nscan: {secrets: {results: ask}}\n",
        ("scan.secrets.results: ask, was redact",)),
    "a finding that stops more": (
        "version: 1\n", "version: 1\nscan: {injection: {results: deny, arguments: ask}}\n",
        NOTHING),
    "a private network that opens": (
        "version: 1\n", "version: 1\nnetwork: {allow_private: [10.0.0.0/8]}\n",
        ("network.allow_private opens 10.0.0.0/8",)),
    "a private network that becomes smaller": (
        "version: 1\nnetwork: {allow_private: [10.0.0.0/8]}\n",
        "version: 1\nnetwork: {allow_private: [10.1.0.0/16, 10.2.0.1/32]}\n", NOTHING),
    "a metadata address within a network that was open": (
        "version: 1\nnetwork: {allow_private: [169.254.0.0/16]}\n",
        "version: 1\nnetwork: {allow_private: [169.254.169.254/32]}\n",
        ("network.allow_private opens 169.254.169.254/32",)),
    "a name with another address": (
        "version: 1\nnetwork: {resolve: {x.test: 127.0.0.1}}\n",
        "version: 1\nnetwork: {resolve: {x.test: 10.0.0.1, y.test: 10.0.0.2}}\n",
        ("network.resolve: x.test is 10.0.0.1, was 127.0.0.1",
         "network.resolve: y.test is 10.0.0.2, was left to DNS")),
    "a name without its address": (
        "version: 1\nnetwork: {resolve: {x.test: 127.0.0.1}}\n", "version: 1\n",
        ("network.resolve: x.test is left to DNS, was 127.0.0.1",)),
    "a new server": ("version: 1\n", SERVERS, ("server a is new", "server b is new")),
    "a server with another URL": (
        SERVERS, SERVERS.replace("a.example/mcp", "c.example/mcp"),
        ("server a has another URL",)),
    "a server that is gone is an unknown one": (
        SERVERS, "version: 1\n", ("server a is gone", "server b is gone")),
    "a server that is gone, and unknown ones are denied": (
        SERVERS, "version: 1\nmcp: {unknown_servers: deny}\n", NOTHING),
    "a server that is gone at the host of another one": (
        'version: 1\nservers: {a: {url: "https://x.example/**"}, b: {url: "https://x.example/b"}}\n',
        'version: 1\nmcp: {unknown_servers: deny}\n'
        'servers: {a: {url: "https://x.example/**"}}\n', ("server b is gone",)),
    "a server that is gone, but egress leads there": (
        'version: 1\nservers: {a: {url: "https://x.example/mcp"}}\negress: {rules: '
        '[{id: x, host: x.example, then: allow}]}\n',
        'version: 1\nmcp: {unknown_servers: deny}\negress: {rules: '
        '[{id: x, host: x.example, then: allow}]}\n', ("server a is gone",)),
    "a new agent": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"),
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}, dev: {{tokens: ['{TOKENS[1]}']}}}}"),
        ("agent dev is new",)),
    "a new agent without a token is locked out": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"),
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}, dev: {{}}}}"), NOTHING),
    "a new token": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"),
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}', '{TOKENS[1]}']}}}}"),
        ("agent ci has a new token",)),
    "a token that is gone is refused at once": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}', '{TOKENS[1]}']}}}}"),
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"), NOTHING),
    "the last token that is gone is refused at once": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"), with_agents("{ci: {}}"), NOTHING),
    "an agent that is gone is refused while there are others": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}, dev: {{}}}}"), with_agents("{dev: {}}"),
        NOTHING),
    "with the last agent gone nobody is asked who it is": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"), with_agents("{}"),
        ("no agents are left, so that all are known by their addresses",)),
    "an agent in another group": (
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}'], groups: [x]}}}}"),
        with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"), ("agent ci is in other groups",)),
    "agents need not show who they are": (
        "version: 1\nnetwork: {require_agents: true}\n", "version: 1\n",
        ("network.require_agents is gone",)),
    "agents must show who they are": (
        "version: 1\n", "version: 1\nnetwork: {require_agents: true}\n", NOTHING),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences"), CASES.values(), ids=CASES)
def test_changes(old: str, new: str, sentences: tuple[str, ...]) -> None:
    before, after = load_policy(old, file="old.yaml"), load_policy(new, file="new.yaml")
    assert loosened(before, after) == sentences
    assert loosened(before, before) == loosened(after, after) == ()


def test_hashes_of_tokens_are_not_told() -> None:
    new = load_policy(with_agents(f"{{ci: {{tokens: ['{TOKENS[0]}']}}}}"), file="p.yaml")
    told = " ".join(loosened(load_policy(SERVERS, file="p.yaml"), new))
    assert told == "agent ci is new"
