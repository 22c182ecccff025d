"""Policy files to policies: reading, the checks across entries, and the shipped starter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mitmgate.errors import Problem
from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy import syntax
from mitmgate.policy.compiled import EgressRule, McpRule, Policy, ScanEffect
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.models import EgressRuleEntry, McpRuleEntry, PolicyFile, ScanSection
from mitmgate.policy.syntax import Condition, ServerUrl
from mitmgate.policy.verdict import Verdict
from mitmgate.strictyaml import Document, KeyPath, did_you_mean, load, read_file, refuse, validate

__all__ = [
    "Policy",
    "load_policy",
    "load_policy_file",
    "starter_policy",
    "starter_text",
    "with_model_api",
]

STARTER_NAME = "starter.yaml"


def load_policy(text: str, *, file: str) -> Policy:
    """Return the policy that *text* spells, or raise ConfigError with every problem."""
    document = load(text, file=file, past_duplicates=True)
    parsed, problems = validate(PolicyFile, document)
    problems += [*_cross_problems(document), *document.problems]
    if parsed is None or problems:
        raise refuse(problems)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return _compile(parsed, "sha256:" + digest)


def load_policy_file(path: Path) -> Policy:
    """Return the policy in the file at *path*, or raise ConfigError with every problem."""
    return load_policy(read_file(path), file=str(path))


def starter_text() -> str:
    """Return the text of the policy that is in force when the user gives none."""
    folder = resources.files("mitmgate_rules")
    return folder.joinpath("policies", STARTER_NAME).read_bytes().decode("utf-8")


def starter_policy() -> Policy:
    """Return the policy that is in force when the user gives none."""
    return load_policy(starter_text(), file=STARTER_NAME)


def with_model_api(text: str, host: str) -> str:
    """Return the policy *text* with an egress rule for the model API at *host* put first.

    Every line of the text stays as it was, comments too. Raises ConfigError if *host* is no
    exact host, or if *text* is no policy with a list of egress rules in block style.
    """
    document = load(text, file=STARTER_NAME)
    problems = [*_model_host_problems(host), *_no_block_of_rules(document)]
    if problems:
        raise refuse(problems)
    name = str(parse_domain_pattern(host))
    taken = {rule_id for _, rule_id in _rule_ids(document)}
    rule_id = "model-api" if "model-api" not in taken else f"model-api-{name}"
    lines = text.splitlines(keepends=True)
    first_rule = lines[document.lines["egress", "rules", 0] - 1]
    indent = first_rule[: len(first_rule) - len(first_rule.lstrip(" "))]
    entry = f'{{id: {rule_id}, host: "{name}", methods: [GET, HEAD, POST], then: allow}}'
    at = document.lines["egress", "rules"]
    changed = "".join([*lines[:at], f"{indent}- {entry}\n", *lines[at:]])
    load_policy(changed, file=STARTER_NAME)
    return changed


def _no_block_of_rules(document: Document) -> Iterator[Problem]:
    key = document.lines.get(("egress", "rules"))
    first = document.lines.get(("egress", "rules", 0))
    if key is None or first is None or first <= key:
        yield document.problem(
            ("egress", "rules"), "there is no list of rules, one a line, to add to",
            hint="add the rule by hand")  # fmt: skip


def _model_host_problems(host: str) -> Iterator[Problem]:
    hint = "name one exact host, as in api.example.com"
    try:
        if parse_domain_pattern(host).wildcard:
            yield Problem("a wildcard is too wide for a model API", key="model API", hint=hint)
    except ValueError as error:
        yield Problem(str(error), key="model API", hint=hint)


# --- checks across entries -----------------------------------------------------------------
# They look at the plain document, so that they are reported beside the problems that single
# values have, and skip whatever is malformed: the models have reported that.


def _cross_problems(document: Document) -> list[Problem]:
    return [
        *_duplicate_ids(document),
        *_unknown_server_names(document),
        *_equal_urls(document),
        *_equal_static_names(document),
        *_bad_hides(document),
    ]


def _child(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _entries(document: Document, section: str) -> Iterator[tuple[KeyPath, Any]]:
    rules = _child(_child(document.value, section), "rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        yield (section, "rules", number), rule


def _rule_ids(document: Document) -> Iterator[tuple[KeyPath, str]]:
    for section in ("mcp", "egress"):
        for path, rule in _entries(document, section):
            rule_id = _child(rule, "id")
            if isinstance(rule_id, str):
                yield (*path, "id"), rule_id


def _duplicate_ids(document: Document) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for path, rule_id in _rule_ids(document):
        earlier = first.setdefault(rule_id, path)
        if earlier != path:
            line = document.line(earlier)
            yield document.problem(
                path, f"{rule_id} is already the id of the rule on line {line}",
                hint="records name rules by id: choose another one")  # fmt: skip


def _unknown_server_names(document: Document) -> Iterator[Problem]:
    servers = _child(document.value, "servers")
    known = sorted(servers) if isinstance(servers, dict) else []
    for path, rule in _entries(document, "mcp"):
        named = _child(rule, "server")
        for name in named if isinstance(named, list) else [named]:
            if isinstance(name, str) and name not in known:
                nearest = did_you_mean(name, known)
                hint = f"did you mean {nearest}?" if nearest else "add it under servers"
                yield document.problem((*path, "server"), f"no server is named {name}", hint=hint)


def _equal_urls(document: Document) -> Iterator[Problem]:
    servers = _child(document.value, "servers")
    first: dict[ServerUrl, str] = {}
    for name, entry in servers.items() if isinstance(servers, dict) else ():
        try:
            url = syntax.parse_server_url(str(_child(entry, "url")))
        except ValueError:
            continue
        earlier = first.setdefault(url, name)
        if earlier != name:
            yield document.problem(("servers", name, "url"), f"{earlier} has the same URL",
                                   hint="give an endpoint one name")  # fmt: skip


def _equal_static_names(document: Document) -> Iterator[Problem]:
    names = _child(_child(document.value, "network"), "resolve")
    first: dict[str, str] = {}
    for name in names if isinstance(names, dict) else ():
        try:
            host = syntax.parse_static_name(name)
        except ValueError:
            continue
        earlier = first.setdefault(host, name)
        if earlier != name:
            yield document.problem(("network", "resolve", name), f"the same host as {earlier}",
                                   hint="remove one")  # fmt: skip


def _bad_hides(document: Document) -> Iterator[Problem]:
    for path, rule in _entries(document, "mcp"):
        if _child(rule, "hide") is not True:
            continue
        if rule.get("then") in ("allow", "ask"):
            yield document.problem((*path, "hide"), "only a rule that denies can hide",
                                   hint="say then: deny, or remove hide")  # fmt: skip
        if rule.get("tool") is None:
            yield document.problem((*path, "hide"), "a rule that hides must have tool",
                                   hint='name what it hides; tool: "*" is everything')  # fmt: skip
        if "where" in rule:
            yield document.problem((*path, "hide"), "a rule that hides cannot have where",
                                   hint="a list is read before there are arguments")  # fmt: skip


# --- compiling -----------------------------------------------------------------------------


def _compile(file: PolicyFile, digest: str) -> Policy:
    urls = {name: syntax.parse_server_url(entry.url) for name, entry in file.servers.items()}
    static = {
        syntax.parse_static_name(name): syntax.parse_address(address)
        for name, address in file.network.resolve.items()
    }
    mcp_rules = tuple(map(_mcp_rule, file.mcp.rules))
    return Policy(
        hash=digest,
        mode=file.mode,
        static_names=MappingProxyType(static),
        private_networks=tuple(map(syntax.parse_network, file.network.allow_private)),
        server_urls=MappingProxyType(urls),
        servers_by_host=_by_host(urls),
        unknown_servers=Verdict.from_word(file.mcp.unknown_servers),
        mcp_rules=mcp_rules,
        hide_rules=tuple(rule for rule in mcp_rules if rule.hide),
        mcp_otherwise=Verdict.from_word(file.mcp.otherwise),
        egress_rules=tuple(map(_egress_rule, file.egress.rules)),
        egress_otherwise=Verdict.from_word(file.egress.otherwise),
        effects=_effects(file.scan),
        hold_wait=syntax.parse_duration(file.hold.wait),
        unattended=file.hold.unattended,
    )


def _by_host(urls: Mapping[str, ServerUrl]) -> Mapping[str, tuple[tuple[str, ServerUrl], ...]]:
    """Return the servers of each host, the most specific URL first."""
    found: dict[str, list[tuple[str, ServerUrl]]] = {}
    for name, url in sorted(urls.items(), key=lambda item: item[1].specificity, reverse=True):
        found.setdefault(url.host, []).append((name, url))
    return MappingProxyType({host: tuple(entries) for host, entries in found.items()})


def _mcp_rule(entry: McpRuleEntry) -> McpRule:
    return McpRule(
        id=entry.id,
        servers=None if entry.server is None else frozenset(entry.server),
        tools=None if entry.tool is None else GlobSet.of(entry.tool),
        methods=None if entry.method is None else GlobSet.of(entry.method),
        where=tuple(
            Condition(pointer, syntax.parse_pointer(pointer), must.equals)
            for pointer, must in (entry.where or {}).items()
        ),
        verdict=Verdict.from_word(entry.then),
        reason=entry.reason,
        hide=entry.hide,
    )


def _egress_rule(entry: EgressRuleEntry) -> EgressRule:
    return EgressRule(
        id=entry.id,
        hosts=DomainSet.of(map(parse_domain_pattern, entry.host)),
        methods=None if entry.methods is None else frozenset(entry.methods),
        oauth=entry.oauth,
        verdict=Verdict.from_word(entry.then),
        reason=entry.reason,
    )


def _effects(scan: ScanSection) -> Mapping[tuple[str, str], ScanEffect]:
    table: dict[tuple[str, str], ScanEffect] = {}
    for detector in type(scan).model_fields:
        table.update(((detector, surface), effect) for surface, effect in getattr(scan, detector))
    return MappingProxyType(table)
