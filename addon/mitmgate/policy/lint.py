"""Warnings about a valid policy: rules that never decide, misspelt methods, forgotten servers.

Only simple cases are found; what is reported is true, silence is no proof.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from mitmgate.errors import Problem
from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy.compiled import Policy
from mitmgate.policy.conditions import WILDCARD
from mitmgate.policy.egress_rule import HTTPS, EgressRule
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.guards import domains_cover, egress_covers
from mitmgate.policy.hidden import LISTED
from mitmgate.policy.hosts import covered
from mitmgate.policy.rules import Circumstances, McpRule
from mitmgate.policy.verdict import Verdict
from mitmgate.strictyaml import Document, did_you_mean
from mitmgate.wire.methods import MCP_METHODS, MCP_NOTIFICATIONS
from mitmgate.wire.recognise import KNOWN_REVISIONS

MAX_PAIRS = 200_000  # of rules that are compared: under a second, and all pairs of 600 rules


def lint(policy: Policy, document: Document) -> list[Problem]:
    """Return warnings about *policy*, which was loaded from *document*."""
    return [
        *_loosening(policy, document),
        *_for_nobody(policy, document),
        *_too_broad(policy, document),
        *_carriers(policy, document),
        *_unread(policy, document),
        *_shadowed_mcp(policy, document),
        *_shadowed_egress(policy, document),
        *_hiding_nothing(policy, document),
        *_match_of_one(policy, document),
        *_misspelt_methods(policy, document),
        *_unnamed_servers(policy, document),
    ]


def _own[T: (McpRule, EgressRule)](rules: tuple[T, ...]) -> tuple[T, ...]:
    """Return the rules that stand in the policy itself: packs come after them."""
    return tuple(rule for rule in rules if not rule.layer)


def _loosening(policy: Policy, document: Document) -> Iterator[Problem]:
    """Find rules that the locked layer makes stricter in all cases."""
    for number, rule in enumerate(_own(policy.mcp_rules)):
        for floor in policy.locked_calls.rules + policy.locked_results.rules:
            if floor.verdict > rule.verdict and _mcp_covers(floor, rule):
                yield _below(document, ("mcp", "rules", number), rule, floor)
                break
    for number, one in enumerate(_own(policy.egress_rules)):
        for other in policy.locked_egress:
            if other.verdict > one.verdict and _egress_covers(other, one):
                yield _below(document, ("egress", "rules", number), one, other)
                break


def _below(
    document: Document,
    path: tuple[str | int, ...],
    rule: McpRule | EgressRule,
    floor: McpRule | EgressRule,
) -> Problem:
    return document.problem(
        path,
        f"rule {rule.id} says {rule.verdict.word}, and the locked rule {floor.id} says "
        f"{floor.verdict.word} to all that it matches",
        hint="the stricter one counts: remove the rule, or speak with who keeps the locked layer",
    )


def _for_nobody(policy: Policy, document: Document) -> Iterator[Problem]:
    """Find rules for agents, groups and revisions that there are not."""
    for number, rule in enumerate(_own(policy.mcp_rules)):
        path = ("mcp", "rules", number)
        yield from _no_agents(policy, document, path, rule.circumstances)
        for revision in sorted((rule.revisions or frozenset()) - KNOWN_REVISIONS):
            hint = f"known are {', '.join(sorted(KNOWN_REVISIONS))}"
            told = f"no revision {revision} is known"
            yield document.problem((*path, "revision"), told, hint=hint)
    for number, one in enumerate(_own(policy.egress_rules)):
        yield from _no_agents(policy, document, ("egress", "rules", number), one.circumstances)


def _no_agents(
    policy: Policy, document: Document, path: tuple[str | int, ...], given: Circumstances
) -> Iterator[Problem]:
    for group in sorted((given.groups or frozenset()) - policy.agents.groups):
        yield document.problem((*path, "group"), f"no agent is of group {group}",
                               hint="add it to an agent, or correct the name")  # fmt: skip
    exact = given.agents.exact if given.agents is not None else frozenset()
    for name in sorted(exact - policy.agents.names):
        if not _is_address(name):
            yield document.problem((*path, "agent"), f"no agent is named {name}",
                                   hint="`mitmgate agent add` makes one")  # fmt: skip


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_broad(policy: Policy, document: Document) -> Iterator[Problem]:
    for number, rule in enumerate(_own(policy.mcp_rules)):
        everything = rule.tools is not None and any(g.text == "*" for g in rule.tools.globs)
        free = not rule.where and rule.circumstances == Circumstances()
        if rule.verdict is Verdict.ALLOW and everything and free and rule.servers is None:
            yield document.problem(
                ("mcp", "rules", number, "tool"),
                f"rule {rule.id} allows every tool of every server",
                hint="name the servers or the tools that are meant",
            )
    for number, one in enumerate(_own(policy.egress_rules)):
        wide = sorted(suffix for suffix in one.hosts.suffixes if suffix.count(".") < 2)
        if one.verdict is Verdict.ALLOW and wide:
            yield document.problem(
                ("egress", "rules", number, "host"),
                f"rule {one.id} opens every host below {wide[0].removeprefix('.')}",
                hint="name a domain that one party owns",
            )


def _carriers(policy: Policy, document: Document) -> Iterator[Problem]:
    """Find rules that open hosts where anybody can put data."""
    rules = _own(policy.egress_rules)
    for number, one in enumerate(rules):
        if one.verdict is not Verdict.ALLOW or one.paths not in (None, ("",)):
            continue
        closed = [rule for rule in rules[:number] if _closes(rule)]
        for known in covered(one.hosts, "carrier"):
            pattern = DomainSet.of([parse_domain_pattern(known.host)])
            if not any(domains_cover(rule.hosts, pattern) for rule in closed):
                yield document.problem(
                    ("egress", "rules", number, "host"),
                    f"rule {one.id} allows {known.host} ({known.name}), which can carry data to "
                    "anybody",
                    hint="deny it in a rule above, or name the paths that are meant",
                )
                break


def _unread(policy: Policy, document: Document) -> Iterator[Problem]:
    """Find rules that leave unread more than they need, or less than they say."""
    rules = _own(policy.egress_rules)
    for number, one in enumerate(rules):
        path = ("egress", "rules", number, "inspect")
        if one.inspect == "headers" and one.methods is None:
            yield document.problem(
                path,
                f"rule {one.id} lets large uploads out unread, by every method",
                hint="say methods: [GET, HEAD] where only downloads are large",
            )
        if one.inspect == "none":
            opener = next((rule for rule in rules[:number] if _keeps_open(rule, one)), None)
            if opener is not None:
                yield document.problem(
                    path,
                    f"rule {one.id} keeps no TLS closed: {opener.id}, above it, may be for some "
                    "requests to these hosts, so that they are read",
                    hint=f"move {one.id} up, or give it other hosts",
                )


def _keeps_open(above: EgressRule, rule: EgressRule) -> bool:
    port = above.ports is None or HTTPS in above.ports
    shadow = above.effects.shadow or above.inspect == "none"
    anyone = above.circumstances == Circumstances()
    return port and anyone and not shadow and all(map(above.hosts.matches, rule.hosts.exact))


def _closes(rule: EgressRule) -> bool:
    shadow = rule.effects.shadow
    return rule.verdict is Verdict.DENY and rule.is_outright and not (rule.ports or shadow)


def _shadowed_mcp(policy: Policy, document: Document) -> Iterator[Problem]:
    rules = _own(policy.mcp_rules)
    limit = _compared(len(rules))
    for number, rule in enumerate(rules):
        earlier = islice(rules, min(number, limit))
        broader = next((other for other in earlier if _mcp_covers(other, rule)), None)
        if broader is not None:
            yield _never_decides(document, ("mcp", "rules", number), rule.id, broader.id)


def _shadowed_egress(policy: Policy, document: Document) -> Iterator[Problem]:
    rules = _own(policy.egress_rules)
    ported = any(rule.ports is not None for rule in policy.egress_rules)
    limit = _compared(len(rules))
    for number, rule in enumerate(rules):
        earlier = islice(rules, min(number, limit))
        above = (other for other in earlier if _egress_covers(other, rule, ported=ported))
        broader = next(above, None)
        if broader is not None:
            yield _never_decides(document, ("egress", "rules", number), rule.id, broader.id)


def _hiding_nothing(policy: Policy, document: Document) -> Iterator[Problem]:
    rules = _own(policy.mcp_rules)
    limit = _compared(len(rules))
    for number, rule in enumerate(rules):
        if not rule.hide:
            continue
        path = ("mcp", "rules", number, "hide")
        if not any(rule.is_for_method(one, housekeeping=False) for one in LISTED.values()):
            yield document.problem(path, f"rule {rule.id} hides nothing: no list is of its methods",
                                   hint=f"lists are of {', '.join(_LISTED)}")  # fmt: skip
        earlier = islice(rules, min(number, limit))
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
    conditional = bool(other.where or other.annotations) and other.verdict is not Verdict.DENY
    return conditional and _mcp_covers(replace(other, where=(), annotations=None), rule)


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


def _match_of_one(policy: Policy, document: Document) -> Iterator[Problem]:
    """Find ``match`` where the pointer names one value only."""
    for number, rule in enumerate(_own(policy.mcp_rules)):
        for condition in rule.where:
            if condition.entry.match is not None and WILDCARD not in condition.tokens:
                yield document.problem(
                    ("mcp", "rules", number, "where", condition.pointer, "match"),
                    f"rule {rule.id} says match: {condition.entry.match} about a single value",
                    hint="put * in the pointer where any item or member is meant, or remove match",
                )


def _misspelt_methods(policy: Policy, document: Document) -> Iterator[Problem]:
    # The list of methods is open-ended, so an unknown one is no error; but a rule that denies
    # tool/call denies nothing.
    known = MCP_METHODS | MCP_NOTIFICATIONS | {"stream", "session/end"}
    for number, rule in enumerate(_own(policy.mcp_rules)):
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
    if not _conditions_cover(broad, narrow) or not _methods_cover(broad, narrow):
        return False
    if broad.tools is not None and not (
        narrow.tools is not None and _globs_cover(broad.tools, narrow.tools)
    ):
        return False
    ours, theirs = broad.verdict is Verdict.ALLOW, narrow.verdict is Verdict.ALLOW
    return all(
        any(one.covers(other, allowing=ours, other_allowing=theirs) for other in narrow.where)
        for one in broad.where
    )


def _conditions_cover(broad: McpRule, narrow: McpRule) -> bool:
    if broad.effects.shadow or broad.phase != narrow.phase:
        return False
    return (
        _sets_cover(broad.revisions, narrow.revisions)
        and _sets_cover(broad.transports, narrow.transports)
        and broad.circumstances in (Circumstances(), narrow.circumstances)
        and (broad.annotations is None or broad.annotations == narrow.annotations)
    )


def _sets_cover(broad: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return broad is None or (narrow is not None and narrow <= broad)


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


def _egress_covers(broad: EgressRule, narrow: EgressRule, *, ported: bool = True) -> bool:
    return not broad.effects.shadow and egress_covers(broad, narrow, ported=ported)
