"""The packs of rules that are shipped: their samples, the starters, and their page."""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from mitmgate.policy.call import Call, EgressCall, request_call
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import decide
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.hosts import tags_of
from mitmgate.policy.layers import LoadedLayer, read_layer, shipped_packs
from mitmgate.policy.lint import lint
from mitmgate.policy.load import ReadPolicy, read_policy
from mitmgate.policy.models import EgressRuleEntry, McpRuleEntry, RulesFile
from mitmgate.policy.models_list import model_apis
from mitmgate.policy.samples import sample_problems

PAGE = Path(__file__).parents[2] / "docs" / "packs.md"
STOPPING = ["shells", "destructive-commands", "credential-files", "git", "databases", "cloud"]
STARTERS = ["observe", "balanced", "strict"]
PREFIXES = {
    "shells": "shells", "destructive-commands": "destructive", "credential-files": "credentials",
    "git": "git", "databases": "databases", "cloud": "cloud", "reads": "reads",
    "git-hosts": "git-hosts", "model-apis": "model-apis", "documentation": "documentation",
}  # fmt: skip
LISTED = "what only a run would tell"


def text_of(folder: str, name: str) -> str:
    file = resources.files("mitmgate_rules").joinpath(folder, f"{name}.yaml")
    return file.read_bytes().decode("utf-8")


@cache
def pack(name: str) -> tuple[LoadedLayer, RulesFile]:
    layer = read_layer(text_of("rulesets", name), name, None, [])
    assert layer.file is not None
    return layer, layer.file


def calls(name: str) -> tuple[McpRuleEntry, ...]:
    return pack(name)[1].mcp.rules


def rules(name: str) -> tuple[McpRuleEntry | EgressRuleEntry, ...]:
    return (*calls(name), *pack(name)[1].egress.rules)


@cache
def starter(name: str) -> ReadPolicy:
    return read_policy(text_of("policies", name), file=f"{name}.yaml")


def judged(policy: Policy, tool: str, arguments: dict[str, Any], **more: Any) -> tuple[str, str]:
    call = Call("agent", "github", "tools/call", tool, {"name": tool, "arguments": arguments},
                **more)  # fmt: skip
    decision = decide(policy, call)
    return decision.verdict.word, decision.rule


# --- the files --------------------------------------------------------------------------------


def test_these_packs_are_shipped() -> None:
    assert sorted(PREFIXES) == list(shipped_packs())


@pytest.mark.parametrize("name", PREFIXES)
def test_a_pack_loads_alone_and_its_samples_hold(name: str) -> None:
    problems: list[Any] = []
    layer = read_layer(text_of("rulesets", name), name, None, problems)
    assert problems == []
    assert layer.file is not None
    assert list(sample_problems(layer.document, layer.file)) == []
    assert layer.file.description


@pytest.mark.parametrize("name", PREFIXES)
def test_a_pack_loads_through_extends(name: str) -> None:
    read = read_policy(f"version: 1\nextends: {name}\n", file="p")
    assert read.policy.rule_count == len(rules(name))


@pytest.mark.parametrize("name", PREFIXES)
def test_each_rule_says_what_it_is_and_shows_it(name: str) -> None:
    for rule in rules(name):
        assert rule.id.startswith(f"{PREFIXES[name]}-")
        assert rule.severity, rule.id
        assert rule.reason, rule.id
        assert len(rule.samples.match) >= 3, rule.id
        assert len(rule.samples.other) >= 3, rule.id


def test_ids_are_unique_over_all_packs() -> None:
    ids = [rule.id for name in PREFIXES for rule in rules(name)]
    assert len(ids) == len(set(ids))


def globs(rule: McpRuleEntry) -> set[str]:
    entries = (rule.where or {}).values()
    return {glob for entry in entries for glob in entry.command or ()} - {LISTED}


@pytest.mark.parametrize(
    ("name", "catching", "specific"),
    [
        ("destructive-commands", ["destructive-hidden", "destructive-nested"],
         ["destructive-disks", "destructive-machine", "destructive-find", "destructive-traces"]),
        ("shells", ["shells-hidden", "shells-nested", "shells-other-members"], ["shells-reverse"]),
        ("git", ["git-force-push-words", "git-nested"], ["git-force-push"]),
        ("cloud", ["cloud-words", "cloud-nested"], ["cloud-delete", "cloud-rights"]),
    ],
)  # fmt: skip
def test_the_rules_that_catch_other_spellings_know_every_command(
    name: str, catching: list[str], specific: list[str]
) -> None:
    by_id = {rule.id: globs(rule) for rule in calls(name)}
    wanted = set().union(*(by_id[one] for one in specific))
    assert {one: sorted(wanted - by_id[one]) for one in catching} == {one: [] for one in catching}


# --- presets of hosts -------------------------------------------------------------------------

OPENED = "version: 1\nextends: [git-hosts, documentation, model-apis]\n"


def requested(url: str, method: str = "GET", size: int = 0) -> tuple[str, str]:
    policy = read_policy(OPENED, file="p").policy
    call = dataclasses.replace(request_call(url, method, "agent"), size=size)
    decision = decide_egress(policy, call)
    return decision.verdict.word, decision.rule


PRESETS = {
    "a clone begins": (
        ("https://github.com/a/b.git/info/refs",), ("allow", "git-hosts-read")),
    "a clone goes on": (
        ("https://github.com/a/b.git/git-upload-pack", "POST"),
        ("ask", "git-hosts-exchange")),
    "a gist": (("https://gist.github.com/x",), ("deny", "git-hosts-snippets")),
    "a gist through the API": (
        ("https://api.github.com/gists", "POST"),
        ("deny", "git-hosts-snippets-by-path")),
    "a gist through the API, spelt otherwise": (
        ("https://api.github.com/%67ists", "POST"),
        ("deny", "git-hosts-snippets-by-path")),
    "documentation": (
        ("https://docs.python.org/3/",), ("allow", "documentation-read")),
    "a body to documentation": (
        ("https://docs.python.org/3/", "GET", 2000), ("deny", "documentation-read")),
    "a model": (
        ("https://api.openai.com/v1/responses", "POST"), ("allow", "model-apis-call")),
    "another host": (("https://pastebin.com/",), ("deny", "otherwise")),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), PRESETS.values(), ids=PRESETS)
def test_presets(given: tuple[Any, ...], expected: tuple[str, str]) -> None:
    assert requested(*given) == expected


def test_the_preset_of_model_apis_knows_the_list_but_shared_names() -> None:
    opened = {host for rule in pack("model-apis")[1].egress.rules for host in rule.host}
    assert opened == {api.host for api in model_apis() if not api.host.startswith("*.")}


@pytest.mark.parametrize(("name", "tag"), [("git-hosts", "git"), ("documentation", "docs")])
def test_a_preset_opens_only_hosts_of_its_tag_and_no_carrier(name: str, tag: str) -> None:
    for rule in pack(name)[1].egress.rules:
        if rule.then != "deny":
            found = {host: tags_of(host.replace("*", "x")) for host in rule.host}
            assert found == dict.fromkeys(rule.host, (tag,))


# --- starters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_has_no_warnings_and_extends_every_pack(name: str) -> None:
    read = starter(name)
    assert lint(read.policy, read.document) == []
    assert {layer.name for layer in read.packs} >= set(STOPPING)
    assert text_of("policies", name).startswith("# For ")


@pytest.mark.parametrize(
    ("name", "tool", "annotations", "expected"),
    [
        ("balanced", "get_me", None, ("allow", "reads-by-name")),
        ("balanced", "whoami", {"readOnlyHint": True}, ("allow", "reads-by-hint")),
        ("balanced", "whoami", None, ("ask", "otherwise")),
        ("balanced", "create_issue", None, ("ask", "otherwise")),
        ("balanced", "get_secret", None, ("ask", "reads-of-secrets")),
        ("balanced", "delete_repository", None, ("deny", "git-delete-repository")),
        ("strict", "get_me", None, ("allow", "reads-by-name")),
        ("strict", "create_issue", None, ("deny", "otherwise")),
        ("observe", "create_issue", None, ("allow", "otherwise")),
    ],
)
def test_a_starter_decides(
    name: str, tool: str, annotations: dict[str, bool] | None, expected: tuple[str, str]
) -> None:
    assert judged(starter(name).policy, tool, {}, annotations=annotations) == expected


@pytest.mark.parametrize("name", ["balanced", "strict"])
def test_reading_is_no_way_around_the_packs(name: str) -> None:
    arguments = {"path": "/home/dev/.ssh/id_rsa"}
    annotations = {"readOnlyHint": True}
    found = judged(starter(name).policy, "read_file", arguments, annotations=annotations)
    assert found == ("deny", "credentials-keys")


def test_unknown_servers_and_egress_of_the_starters() -> None:
    policies = {name: starter(name).policy for name in STARTERS}
    unknown = {name: policy.unknown_servers.word for name, policy in policies.items()}
    assert unknown == {"observe": "allow", "balanced": "ask", "strict": "deny"}
    get = EgressCall("agent", "docs.python.org", 443, "GET", "/")
    found = {name: decide_egress(policy, get).verdict.word for name, policy in policies.items()}
    assert found == {"observe": "allow", "balanced": "allow", "strict": "deny"}
    assert policies["observe"].mode == "shadow"


# --- the page ---------------------------------------------------------------------------------


def test_the_page_names_every_pack_and_starter() -> None:
    page = PAGE.read_text("utf-8")
    missing = [name for name in PREFIXES if f"| `{name}` | {len(rules(name))} |" not in page]
    assert missing == []
    assert [name for name in STARTERS if f"| `{name}` |" not in page] == []


def test_the_page_names_every_rule() -> None:
    page = PAGE.read_text("utf-8")
    ids = [rule.id for name in PREFIXES for rule in rules(name)]
    assert [one for one in ids if f"`{one}`" not in page] == []
