"""Policy files: every key of the format, every default, every problem at once."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.load import Policy, load_policy, load_policy_file
from mitmgate.policy.verdict import Verdict

FULL = """\
version: 1
mode: shadow
network:
  resolve: {MCP.example.com: 127.0.0.1}
  allow_private: [127.0.0.0/8, 169.254.0.0/16, "fd00::/8"]
servers:
  github: {url: "https://api.githubcopilot.com/mcp/**"}
  narrow: {url: "https://api.githubcopilot.com/mcp/x/**"}
  exact: {url: "https://api.githubcopilot.com/mcp/x/y"}
  local: {url: "http://127.0.0.1:9000/mcp"}
  root: {url: "https://root.example"}
  all: {url: "https://all.example/**"}
  socket: {url: "wss://socket.example/mcp"}
  plain-socket: {url: "ws://127.0.0.1:9100/mcp"}
mcp:
  unknown_servers: deny
  rules:
    - {id: reads, server: [github, local], tool: get_*, then: allow}
  otherwise: deny
egress:
  rules:
    - {id: docs, host: "*.example.org", methods: GET, then: ask}
  otherwise: ask
scan:
  secrets: {results: ask}
hold: {wait: 10m, unattended: wait, ticket: 30m, allow_for: 24h, deny_for: 5m}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_policy(text, file="p.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def policy() -> Policy:
    return load_policy(FULL, file="p.yaml")


def test_every_value_arrives(policy: Policy) -> None:
    assert policy.mode == "shadow"
    assert policy.unknown_servers is Verdict.DENY
    assert policy.mcp_otherwise is Verdict.DENY
    assert policy.egress_otherwise is Verdict.ASK
    assert (policy.hold_wait, policy.unattended) == (600.0, "wait")
    assert (policy.ticket, policy.allow_for, policy.deny_for) == (1800.0, 86_400.0, 300.0)
    assert policy.rule_count == 2
    assert policy.effects["secrets", "results"] == "ask"


def test_a_rule_hides_only_if_it_says_so() -> None:
    rules = "{id: a, tool: x, then: deny, hide: true}, {id: b, tool: y, then: deny, hide: false}"
    policy = load_policy(f"version: 1\nmcp: {{rules: [{rules}, {{id: c, then: deny}}]}}", file="p")
    assert [rule.hide for rule in policy.mcp_rules] == [True, False, False]
    assert [rule.id for rule in policy.calls.hiding] == ["a"]


def test_the_defaults_ask_for_mcp_and_deny_egress() -> None:
    policy = load_policy("version: 1\n", file="p.yaml")
    assert policy.mode == "enforce"
    assert policy.unknown_servers is Verdict.ASK
    assert policy.mcp_otherwise is Verdict.ASK
    assert policy.egress_otherwise is Verdict.DENY
    assert (policy.hold_wait, policy.unattended) == (45.0, "deny")
    assert (policy.ticket, policy.allow_for, policy.deny_for) == (600.0, 900.0, 3600.0)
    assert not policy.private_allowed("10.0.0.1")


def test_surfaces_that_are_left_out_keep_their_default(policy: Policy) -> None:
    assert policy.effects["secrets", "arguments"] == "deny"
    assert policy.effects["secrets", "definitions"] == "log"
    assert policy.effects["injection", "results"] == "ask"
    assert policy.effects["poisoning", "definitions"] == "hide"
    assert len(policy.effects) == 36


def test_a_policy_cannot_be_changed(policy: Policy) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.mode = "enforce"  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.effects["secrets", "results"] = "log"  # type: ignore[index]


def test_the_hash_names_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    raw = b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode()
    path.write_bytes(raw)
    assert load_policy_file(path).hash == "sha256:" + hashlib.sha256(raw).hexdigest()


def test_static_names(policy: Policy) -> None:
    assert policy.resolve("mcp.example.com") == "127.0.0.1"
    assert policy.resolve("www.example.com") is None


PRIVATE = {
    "an address of the network": ("127.0.0.1", True),
    "a mapped address of the network": ("::ffff:127.0.0.1", True),
    "an address of another family": ("fd00::1", True),
    "an address elsewhere": ("10.0.0.1", False),
    "a metadata address inside a wide network": ("169.254.169.254", False),
    "an IPv6 metadata address inside a wide network": ("fd00:ec2::254", False),
    "its neighbour": ("169.254.169.253", True),
    "no address": ("localhost", False),
}


@pytest.mark.parametrize(("address", "allowed"), PRIVATE.values(), ids=PRIVATE)
def test_private_addresses(policy: Policy, address: str, allowed: bool) -> None:
    assert policy.private_allowed(address) is allowed


def test_a_metadata_address_is_opened_by_its_own_prefix() -> None:
    text = "version: 1\nnetwork: {allow_private: [169.254.169.254/32, 'fd00:ec2::254']}"
    policy = load_policy(text, file="p.yaml")
    assert policy.private_allowed("169.254.169.254")
    assert policy.private_allowed("fd00:ec2::254")


SERVERS = {
    "everything below": ("https://api.githubcopilot.com:443/mcp/a/b", "github"),
    "the path itself": ("https://api.githubcopilot.com:443/mcp", "github"),
    "the path with a slash": ("https://api.githubcopilot.com:443/mcp/", "github"),
    "http on its own port": ("http://api.githubcopilot.com:80/mcp/a", "github"),
    "http on the port of https": ("http://api.githubcopilot.com:443/mcp/a", "github"),
    "another port": ("https://api.githubcopilot.com:8443/mcp/a", None),
    "a longer first segment": ("https://api.githubcopilot.com:443/mcpx", None),
    "another case of the path": ("https://api.githubcopilot.com:443/MCP", None),
    "the narrower URL wins": ("https://api.githubcopilot.com:443/mcp/x/z", "narrow"),
    "the exact URL wins": ("https://api.githubcopilot.com:443/mcp/x/y", "exact"),
    "a path that climbs out": ("https://api.githubcopilot.com:443/mcp/../admin", None),
    "a path that climbs out in code": ("https://api.githubcopilot.com:443/mcp/%2e%2e/a", None),
    "an address and a port": ("https://127.0.0.1:9000/mcp", "local"),
    "an exact path has nothing below": ("http://127.0.0.1:9000/mcp/", None),
    "no path is the root": ("https://root.example:443/", "root"),
    "no path is the root only": ("https://root.example:443/mcp", None),
    "all of a host": ("https://all.example:443/", "all"),
    "a WebSocket is opened by https": ("https://socket.example:443/mcp", "socket"),
    "a WebSocket without TLS": ("http://socket.example:80/mcp", "socket"),
    "a WebSocket on a port of its own": ("http://127.0.0.1:9100/mcp", "plain-socket"),
    "a WebSocket on another path": ("https://socket.example:443/other", None),
    "another host": ("https://other.example:443/mcp", None),
    "another scheme": ("ws://all.example:443/", None),
}


@pytest.mark.parametrize(("url", "server"), SERVERS.values(), ids=SERVERS)
def test_servers(policy: Policy, url: str, server: str | None) -> None:
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, _, port = authority.partition(":")
    assert policy.server_for(scheme, host, int(port), "/" + path) == server


def test_origins_of_servers(policy: Policy) -> None:
    assert policy.serves_origin("127.0.0.1", 9000)
    assert not policy.serves_origin("127.0.0.1", 9001)
    assert not policy.serves_origin("other.example", 443)


# sentence: body below `version: 1`, the problems as shown
REFUSED = {
    "an unknown section": (
        "mpc: {}",
        ["p.yaml:2: mpc: unknown key (did you mean mcp?)"],
    ),
    "a key of a later version": (
        "limits: {}",
        ["p.yaml:2: limits: unknown key (known keys: version, mode, contact, extends, network, "
         "agents, servers, mcp, egress, scan, hold)"],
    ),
    "a verdict with a typo": (
        "mcp: {otherwise: alow}",
        ["p.yaml:2: mcp.otherwise: must be 'allow', 'ask' or 'deny' (did you mean allow?)"],
    ),
    "an unknown server in a rule": (
        "servers:\n  github: {url: 'https://a.example/mcp'}\n"
        "mcp:\n  rules:\n    - {id: a, server: [github, gihub], then: allow}",
        ["p.yaml:6: mcp.rules.0.server: no server is named gihub (did you mean github?)"],
    ),
    "a server where there are none": (
        "mcp:\n  rules:\n    - {id: a, server: x, then: allow}",
        ["p.yaml:4: mcp.rules.0.server: no server is named x (add it under servers)"],
    ),
    "the same id twice": (
        "mcp:\n  rules:\n    - {id: a, then: allow}\n    - {id: a, then: deny}",
        ["p.yaml:5: mcp.rules.1.id: a is already the id of the rule on line 4 "
         "(records name rules by id: choose another one)"],
    ),
    "the same id in mcp and egress": (
        "mcp:\n  rules: [{id: a, then: allow}]\n"
        "egress:\n  rules: [{id: a, host: x.example, then: deny}]",
        ["p.yaml:5: egress.rules.0.id: a is already the id of the rule on line 3 "
         "(records name rules by id: choose another one)"],
    ),
    "a built-in id": (
        "mcp:\n  rules: [{id: otherwise, then: allow}]",
        ["p.yaml:3: mcp.rules.0.id: otherwise is the name of a built-in rule; choose another id"],
    ),
    "another built-in id": (
        "mcp:\n  rules: [{id: ambiguous_key, then: allow}]",
        ["p.yaml:3: mcp.rules.0.id: ambiguous_key is the name of a built-in rule; "
         "choose another id"],
    ),
    "a bad glob": (
        "mcp:\n  rules: [{id: a, tool: 'get_[ab]', then: allow}]",
        ["p.yaml:3: mcp.rules.0.tool: bad glob: only * and ? are special, brackets and \\ are "
         "not supported; list the names instead"],
    ),
    "an empty list of tools": (
        "mcp:\n  rules: [{id: a, tool: [], then: allow}]",
        ["p.yaml:3: mcp.rules.0.tool: must not be empty"],
    ),
    "a tool that is no text": (
        "mcp:\n  rules: [{id: a, tool: {x: y}, then: allow}]",
        ["p.yaml:3: mcp.rules.0.tool: must be text, or a list of texts"],
    ),
    "no days": (
        "mcp:\n  rules: [{id: a, time: {from: '09:00', to: '17:00', days: []}, then: allow}]",
        ["p.yaml:3: mcp.rules.0.time.days: must not be empty"],
    ),
    "a day that is none": (
        "mcp:\n  rules: [{id: a, time: {from: '09:00', to: '17:00', days: [tues]}, then: ask}]",
        ["p.yaml:3: mcp.rules.0.time.days.0: must be 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or "
         "'sun' (did you mean tue?)"],
    ),
    "a revision without letters": (
        "mcp:\n  rules: [{id: a, revision: '', then: allow}]",
        ["p.yaml:3: mcp.rules.0.revision: must not be empty"],
    ),
    "a revision without letters in a list": (
        "mcp:\n  rules: [{id: a, revision: ['2025-11-25', ''], then: allow}]",
        ["p.yaml:3: mcp.rules.0.revision.1: must not be empty"],
    ),
    "an empty where": (
        "mcp:\n  rules: [{id: a, where: {}, then: allow}]",
        ["p.yaml:3: mcp.rules.0.where: must not be empty"],
    ),
    "a bad pointer": (
        "mcp:\n  rules: [{id: a, where: {force: {equals: 1}}, then: allow}]",
        ["p.yaml:3: mcp.rules.0.where.force: a JSON pointer starts with /, "
         "as in /arguments/force"],
    ),
    "a where without equals": (
        "mcp:\n  rules: [{id: a, where: {/x: {}}, then: allow}]",
        ["p.yaml:3: mcp.rules.0.where./x: at least one operator is needed, as in "
         "{equals: true}"],
    ),
    "a bare star as host": (
        "egress:\n  rules: [{id: a, host: '*', then: allow}]",
        ["p.yaml:3: egress.rules.0.host: a host pattern that matches every host is not allowed"],
    ),
    "a method in small letters": (
        "egress:\n  rules: [{id: a, host: x.example, methods: [GET, post], then: allow}]",
        ["p.yaml:3: egress.rules.0.methods.1: an HTTP method is written in capitals, as in GET"],
    ),
    "redaction of an injection": (
        "scan: {injection: {results: redact}}",
        ["p.yaml:2: scan.injection.results: must be 'log', 'ask' or 'deny'"],
    ),
    "redaction where it breaks things": (
        "scan: {secrets: {definitions: redact}}",
        ["p.yaml:2: scan.secrets.definitions: must be 'log', 'hide', 'ask' or 'deny'"],
    ),
    "a duration without unit": (
        "hold: {wait: 45}",
        ['p.yaml:2: hold.wait: must be text (quote it: "45")'],
    ),
    "a length too long": (
        "hold: {deny_for: 25h}", ["p.yaml:2: hold.deny_for: must be from 1s to 24h"]),
    "a wait of a rule that denies": (
        "mcp: {rules: [{id: a, tool: a, then: deny, hold: {wait: 10m}}]}",
        ["p.yaml:2: mcp.rules.0.hold: only what asks waits (say then: ask, or remove hold)"]),
    "a wait of an egress rule that allows": (
        "egress: {rules: [{id: a, host: a.example, then: allow, hold: {wait: 10m}}]}",
        ["p.yaml:2: egress.rules.0.hold: only what asks waits (say then: ask, or remove hold)"]),
    "a wait of a rule for results": (
        "mcp: {rules: [{id: a, tool: a, phase: result, then: ask, hold: {wait: 10m}}]}",
        ["p.yaml:2: mcp.rules.0.hold: a result waits as long as all others (remove hold; hold.wait "
         "is for all)"]),
    "a wait of a rule that is too long": (
        "mcp: {rules: [{id: a, tool: a, then: ask, hold: {wait: 2h}}]}",
        ["p.yaml:2: mcp.rules.0.hold.wait: must be from 1s to 1h"]),
    "a duration too long": ("hold: {wait: 2h}", ["p.yaml:2: hold.wait: must be from 1s to 1h"]),
    "a network with host bits": (
        "network: {allow_private: [10.0.0.1/8]}",
        ["p.yaml:2: network.allow_private.0: the address has bits outside of its prefix; "
         "did you mean 10.0.0.0/8?"],
    ),
    "a name resolved to a name": (
        "network: {resolve: {a.example: b.example}}",
        ["p.yaml:2: network.resolve.a.example: must be an IP address, as in 127.0.0.1"],
    ),
    "one name resolved twice": (
        "network:\n  resolve:\n    a.example: 127.0.0.1\n    A.example.: 127.0.0.2",
        ["p.yaml:5: network.resolve.A.example.: the same host as a.example (remove one)"],
    ),
    "two names for one URL": (
        "servers:\n  a: {url: 'https://x.example/mcp'}\n  b: {url: 'http://X.example:80/mcp'}",
        ["p.yaml:4: servers.b.url: a has the same URL (give an endpoint one name)"],
    ),
    "one endpoint by https and by WebSocket": (
        "servers:\n  a: {url: 'https://x.example/mcp'}\n  b: {url: 'wss://x.example/mcp'}",
        ["p.yaml:4: servers.b.url: a has the same URL (give an endpoint one name)"],
    ),
    "a rule that hides what it allows": (
        "mcp:\n  rules: [{id: a, tool: x, then: allow, hide: true}]",
        ["p.yaml:3: mcp.rules.0.hide: only a rule that denies can hide "
         "(say then: deny, or remove hide)"],
    ),
    "a rule that hides what it asks about": (
        "mcp:\n  rules: [{id: a, tool: x, then: ask, hide: true}]",
        ["p.yaml:3: mcp.rules.0.hide: only a rule that denies can hide "
         "(say then: deny, or remove hide)"],
    ),
    "a rule that hides nobody knows what": (
        "mcp:\n  rules: [{id: a, method: tools/call, then: deny, hide: true}]",
        ["p.yaml:3: mcp.rules.0.hide: a rule that hides must have tool "
         '(name what it hides; tool: "*" is everything)'],
    ),
    "a rule that hides by arguments": (
        "mcp:\n  rules: [{id: a, tool: x, where: {/a: {equals: 1}}, then: deny, hide: true}]",
        ["p.yaml:3: mcp.rules.0.hide: a rule that hides cannot have where "
         "(a list is read before there are arguments)"],
    ),
    "a hide that is no yes or no": (
        "mcp:\n  rules: [{id: a, tool: x, then: deny, hide: 1}]",
        ["p.yaml:3: mcp.rules.0.hide: must be true or false"],
    ),
    "a control character in a reason": (
        'mcp:\n  rules: [{id: a, then: deny, reason: "x\\e[2J"}]',
        ["p.yaml:3: mcp.rules.0.reason: a reason holds no control characters"],
    ),
    "an empty section": ("mcp:", ["p.yaml:2: mcp: must be a mapping of keys to values"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "shown"), REFUSED.values(), ids=REFUSED)
def test_refused(body: str, shown: list[str]) -> None:
    assert problems(f"version: 1\n{body}\n") == shown


@pytest.mark.parametrize("version", ["2", "'1'", "true", "1.0", "null"])
def test_only_version_one_is_read(version: str) -> None:
    assert "version: must be 1" in problems(f"version: {version}\n")[0]


def test_all_problems_come_at_once() -> None:
    text = """\
version: 1
mode: enforced
servers: {a b: {url: "ftp://x"}}
mcp:
  rules:
    - {id: one, tool: "[x]", then: allow}
    - {id: one, server: nobody, then: allow, resaon: x}
    - {then: maybe}
hold: {wait: 1d}
"""
    places = [shown.split(": ")[:2] for shown in problems(text)]
    assert places == [
        ["p.yaml:2", "mode"],
        ["p.yaml:3", "servers.a b"],
        ["p.yaml:3", "servers.a b.url"],
        ["p.yaml:6", "mcp.rules.0.tool"],
        ["p.yaml:7", "mcp.rules.1.resaon"],
        ["p.yaml:7", "mcp.rules.1.id"],
        ["p.yaml:7", "mcp.rules.1.server"],
        ["p.yaml:8", "mcp.rules.2.id"],
        ["p.yaml:8", "mcp.rules.2.then"],
        ["p.yaml:9", "hold.wait"],
    ]


def test_ten_thousand_rules_load() -> None:
    rule = "    - {{id: r{0}, tool: [get_{0}, list_{0}_*], then: allow}}\n"
    text = "version: 1\nmcp:\n  rules:\n" + "".join(map(rule.format, range(10_000)))
    assert load_policy(text, file="p.yaml").rule_count == 10_000


def test_files_that_are_no_policy(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    for path, message in ((empty, "empty"), (tmp_path, "directory"), (tmp_path / "x", "no such")):
        with pytest.raises(ConfigError, match=message):
            load_policy_file(path)


def test_a_duplicate_key_does_not_hide_the_other_problems() -> None:
    text = "version: 1\nmode: enforce\nmode: shadow\nhold: {wait: soon}\nmpc: {}\n"
    with pytest.raises(ConfigError) as caught:
        load_policy(text, file="p.yaml")
    found = [(problem.line, problem.key) for problem in caught.value.problems]
    assert found == [(3, "mode"), (4, "hold.wait"), (5, "mpc")]
