"""Warnings about a valid policy: rules that never decide, misspelt methods, forgotten servers.

Only simple cases are found; what is reported is true, silence is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from mitmgate.errors import Problem
from mitmgate.net.domains import DomainSet
from mitmgate.policy.compiled import EgressRule, McpRule, Policy
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.hidden import LISTED
from mitmgate.policy.syntax import Condition, json_equal
from mitmgate.policy.verdict import Verdict
from mitmgate.strictyaml import Document, did_you_mean
from mitmgate.wire.methods import MCP_METHODS, MCP_NOTIFICATIONS

MAX_PAIRS = 200_000  # of rules that are compared: under a second, and all pairs of 600 rules


def lint(policy: Policy, document: Document) -> list[Problem]:
    """Return warnings about *policy*, which was loaded from *document*."""
    return [
        *_shadowed_mcp(policy, document),
        *_shadowed_egress(policy, document),
        *_hiding_nothing(policy, document),
        *_misspelt_methods(policy, document),
        *_unnamed_servers(policy, document),
    ]


def _shadowed_mcp(policy: Policy, document: Document) -> Iterator[Problem]:
    limit = _compared(len(policy.mcp_rules))
    for number, rule in enumerate(policy.mcp_rules):
        earlier = islice(policy.mcp_rules, min(number, limit))
        broader = next((other for other in earlier if _mcp_covers(other, rule)), None)
        if broader is not None:
            yield _never_decides(document, ("mcp", "rules", number), rule.id, broader.id)


def _shadowed_egress(policy: Policy, document: Document) -> Iterator[Problem]:
    limit = _compared(len(policy.egress_rules))
    for number, rule in enumerate(policy.egress_rules):
        earlier = islice(policy.egress_rules, min(number, limit))
        broader = next((other for other in earlier if _egress_covers(other, rule)), None)
        if broader is not None:
            yield _never_decides(document, ("egress", "rules", number), rule.id, broader.id)


def _hiding_nothing(policy: Policy, document: Document) -> Iterator[Problem]:
    limit = _compared(len(policy.mcp_rules))
    for number, rule in enumerate(policy.mcp_rules):
        if not rule.hide:
            continue
        path = ("mcp", "rules", number, "hide")
        if not any(rule.is_for_method(one, housekeeping=False) for one in LISTED.values()):
            yield document.problem(path, f"rule {rule.id} hides nothing: no list is of its methods",
                                   hint=f"lists are of {', '.join(_LISTED)}")  # fmt: skip
        earlier = islice(policy.mcp_rules, min(number, limit))
        opener = next((other for other in earlier if _may_open(other, rule)), None)
        if opener is not None:
            yield document.problem(
                path,
                f"rule {rule.id} hides nothing: {opener.id}, above it, may let through what it "
                "denies, and what can be called is listed",
                hint=f"move {rule.id} up, or make it narrower",
            )


_LISTED = sorted(set(LISTED.values()))


def _may_open(other: McpRule, rule: McpRule) -> bool:
    """Say whether *other* lets through some calls of each target that *rule* matches."""
    conditional = bool(other.where) and other.verdict is not Verdict.DENY
    return conditional and _mcp_covers(replace(other, where=()), rule)


def _compared(rules: int) -> int:
    """Return with how many of the first rules each of *rules* is compared."""
    return rules if rules * rules <= 2 * MAX_PAIRS else MAX_PAIRS // rules


def _never_decides(
    document: Document, path: tuple[str | int, ...], rule: str, broader: str
) -> Problem:
    return document.problem(
        path,
        f"rule {rule} never decides: {broader}, above it, matches all that it matches",
        hint="move it up, or remove it",
    )


def _misspelt_methods(policy: Policy, document: Document) -> Iterator[Problem]:
    # The list of methods is open-ended, so an unknown one is no error; but a rule that denies
    # tool/call denies nothing.
    known = MCP_METHODS | MCP_NOTIFICATIONS | {"stream", "session/end"}
    for number, rule in enumerate(policy.mcp_rules):
        for method in sorted((rule.methods.exact if rule.methods else frozenset()) - known):
            nearest = did_you_mean(method, known)
            if nearest:
                yield document.problem(
                    ("mcp", "rules", number, "method"),
                    f"MCP has no method {method} that we know of",
                    hint=f"did you mean {nearest}?",
                )


def _unnamed_servers(policy: Policy, document: Document) -> Iterator[Problem]:
    if any(rule.servers is None for rule in policy.mcp_rules):
        return
    named = {name for rule in policy.mcp_rules for name in rule.servers or ()}
    for name in policy.server_urls:
        if name not in named:
            yield document.problem(
                ("servers", name),
                f"no rule is for server {name}: each of its calls gets mcp.otherwise, "
                f"which is {policy.mcp_otherwise.word}",
                hint="add a rule for it",
            )


def _mcp_covers(broad: McpRule, narrow: McpRule) -> bool:
    if broad.servers is not None and not (narrow.servers and narrow.servers <= broad.servers):
        return False
    if not _methods_cover(broad, narrow):
        return False
    if broad.tools is not None and not (
        narrow.tools is not None and _globs_cover(broad.tools, narrow.tools)
    ):
        return False
    return all(any(_same(one, other) for other in narrow.where) for one in broad.where)


def _methods_cover(broad: McpRule, narrow: McpRule) -> bool:
    if broad.methods is not None:
        if narrow.methods is None:
            return narrow.tools is not None and broad.methods.matches("tools/call")
        return _globs_cover(broad.methods, narrow.methods)
    # Without a method, a rule means tools/call, or everything but housekeeping.
    return narrow.methods is None and (broad.tools is None or narrow.tools is not None)


def _globs_cover(broad: GlobSet, narrow: GlobSet) -> bool:
    """Say whether every name that *narrow* matches is surely matched by *broad*."""
    # A star inside the narrow glob is matched like any character: only a star covers it.
    return all(
        text in broad.exact or any(_glob_covers(glob.text, text) for glob in broad.globs)
        for text in narrow.texts
    ) or any(glob.text == "*" for glob in broad.globs)


def _glob_covers(broad: str, narrow: str) -> bool:
    if broad == narrow:
        return True
    head, star, tail = broad.partition("*")
    simple = star and not tail and "?" not in head
    if simple:
        return narrow.startswith(head)
    return not any(char in narrow for char in "*?") and GlobSet.of([broad]).matches(narrow)


def _same(one: Condition, other: Condition) -> bool:
    return one.tokens == other.tokens and json_equal(one.equals, other.equals)


def _egress_covers(broad: EgressRule, narrow: EgressRule) -> bool:
    if broad.methods is not None and not (narrow.methods and narrow.methods <= broad.methods):
        return False
    return _hosts_cover(broad.hosts, narrow.hosts)


def _hosts_cover(broad: DomainSet, narrow: DomainSet) -> bool:
    exact = all(broad.matches(host) for host in narrow.exact)
    return exact and all(suffix.endswith(broad.suffixes) for suffix in narrow.suffixes)
