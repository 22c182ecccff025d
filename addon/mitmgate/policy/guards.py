"""What rules are for, two compared: surely all that another is for, or perhaps some of it.

Both answers err to one side: ``covers`` is False and ``overlaps`` is True where it is not clear.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mitmgate.net.domains import DomainSet
from mitmgate.policy.conditions import Condition
from mitmgate.policy.egress_rule import WEB_PORTS, EgressRule
from mitmgate.policy.globs import Glob, GlobSet
from mitmgate.policy.rules import Circumstances, McpRule
from mitmgate.policy.url_paths import prefixes_cover
from mitmgate.policy.verdict import Verdict

_CALL = "tools/call"
_CALLS = GlobSet.of([_CALL])


def mcp_covers(broad: McpRule, narrow: McpRule) -> bool:
    """Say whether *broad* surely matches, or finds ambiguous, all that *narrow* does."""
    if (broad.where or broad.annotations) and not _as_ready(broad, narrow):
        return False
    hints = (broad.annotations or {}).items()
    return (
        _within(narrow.servers, broad.servers)
        and _within(narrow.revisions, broad.revisions)
        and _within(narrow.transports, broad.transports)
        and _methods_cover(broad, narrow)
        and _globs_cover(broad.tools, narrow.tools)
        and _circumstances_cover(broad.circumstances, narrow.circumstances)
        and hints <= (narrow.annotations or {}).items()
        and (not broad.where or same_where(broad, narrow))
    )


def mcp_overlaps(one: McpRule, other: McpRule, *, targets: bool = True) -> bool:
    """Say whether a call may be one that both rules are for; *targets*: for the same tool too.

    Lists leave out templates of URIs by less than the names that these can become, so that the
    globs of two rules do not tell them apart there.
    """
    return (
        not _apart(one.servers, other.servers)
        and not _apart(one.revisions, other.revisions)
        and not _apart(one.transports, other.transports)
        and _globs_overlap(_methods_of(one), _methods_of(other))
        and _globs_overlap(one.circumstances.agents, other.circumstances.agents)
        and not (targets and not _globs_overlap(one.tools, other.tools))
    )


def egress_covers(broad: EgressRule, narrow: EgressRule, *, ported: bool = True) -> bool:
    """Say whether *broad* surely matches every request that *narrow* does.

    *ported* says that some rule may open ports that are not usual ones.
    """
    return (
        _within(narrow.methods, broad.methods)
        and _within(narrow.protocols, broad.protocols)
        and _ports_cover(broad, narrow, ported=ported)
        and _paths_cover(broad, narrow)
        and domains_cover(broad.hosts, narrow.hosts)
        and _circumstances_cover(broad.circumstances, narrow.circumstances)
    )


def domains_cover(broad: DomainSet, narrow: DomainSet) -> bool:
    """Say whether *broad* has every host that *narrow* has."""
    below = all(suffix.endswith(broad.suffixes) for suffix in narrow.suffixes)
    return below and all(map(broad.matches, narrow.exact))


def domains_overlap(one: DomainSet, other: DomainSet) -> bool:
    """Say whether there may be a host that both have."""
    return _reaches(one, other) or _reaches(other, one)


def _reaches(one: DomainSet, other: DomainSet) -> bool:
    return any(map(one.matches, other.exact)) or any(
        suffix.endswith(one.suffixes) for suffix in other.suffixes
    )


def egress_overlaps(one: EgressRule, other: EgressRule) -> bool:
    """Say whether a request, or the tunnel for one, may be one that both rules are for."""
    return domains_overlap(one.hosts, other.hosts) and not _apart(one.ports, other.ports)


def _ports_cover(broad: EgressRule, narrow: EgressRule, *, ported: bool) -> bool:
    allowing = broad.verdict is Verdict.ALLOW
    if broad.ports is None and (not allowing or not ported):
        return True
    if broad.ports is None:  # the usual ones, among them the web's
        same = narrow.ports is None and narrow.verdict is Verdict.ALLOW
        return same or (narrow.ports is not None and narrow.ports <= WEB_PORTS)
    return narrow.ports is not None and narrow.ports <= broad.ports


def _paths_cover(broad: EgressRule, narrow: EgressRule) -> bool:
    if broad.paths is None:
        return True
    if narrow.paths is None:
        return False
    sure = broad.verdict is Verdict.ALLOW
    if sure and narrow.verdict is not Verdict.ALLOW:
        return False  # a path that can be read in two ways is for the narrow one only
    return prefixes_cover(broad.paths, narrow.paths, cased=sure)


def same_where(one: McpRule, other: McpRule) -> bool:
    """Say whether both rules have the same conditions on params or results."""
    # To Python, and so to the models, true is 1. The cheap comparison comes first all the same.
    return one.where == other.where and _spelt(one.where) == _spelt(other.where)


def _spelt(where: Iterable[Condition]) -> list[str]:
    return sorted(
        json.dumps([one.pointer, one.entry.model_dump(by_alias=True, exclude_unset=True)],
                   sort_keys=True)
        for one in where
    )  # fmt: skip


def _as_ready(broad: McpRule, narrow: McpRule) -> bool:
    """Say whether *broad* takes what is unsure as readily: a rule that allows must be sure."""
    return broad.verdict is not Verdict.ALLOW or narrow.verdict is Verdict.ALLOW


def _within(narrow: frozenset[str] | None, broad: frozenset[str] | None) -> bool:
    return broad is None or (narrow is not None and narrow <= broad)


def _apart[T](one: frozenset[T] | None, other: frozenset[T] | None) -> bool:
    return one is not None and other is not None and one.isdisjoint(other)


def _methods_cover(broad: McpRule, narrow: McpRule) -> bool:
    if narrow.methods is not None:
        only_calls = not narrow.methods.globs and narrow.methods.exact == {_CALL}
        if broad.methods is None:
            return broad.tools is not None and only_calls
        return _globs_cover(broad.methods, narrow.methods)
    if broad.methods is None:
        # With a tool they mean tools/call, without one everything but housekeeping.
        return broad.tools is None or narrow.tools is not None
    return broad.methods.matches(_CALL) if narrow.tools is not None else _is_all(broad.methods)


def _methods_of(rule: McpRule) -> GlobSet | None:
    return _CALLS if rule.methods is None and rule.tools is not None else rule.methods


def _globs_cover(broad: GlobSet | None, narrow: GlobSet | None) -> bool:
    if broad is None or _is_all(broad):
        return broad is None or narrow is not None
    if narrow is None:
        return False
    return set(narrow.globs) <= set(broad.globs) and all(map(broad.matches, narrow.exact))


def _is_all(globs: GlobSet) -> bool:
    return any(glob.text == "*" for glob in globs.globs)


def _globs_overlap(one: GlobSet | None, other: GlobSet | None) -> bool:
    if one is None or other is None:
        return True
    return (
        any(map(other.matches, one.exact))
        or any(map(one.matches, other.exact))
        or any(_ends_meet(left, right) for left in one.globs for right in other.globs)
    )


def _ends_meet(one: Glob, other: Glob) -> bool:
    heads = [glob.pieces[0].partition("?")[0] for glob in (one, other)]
    tails = [glob.pieces[-1].rpartition("?")[2] for glob in (one, other)]
    starts = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    return starts and (tails[0].endswith(tails[1]) or tails[1].endswith(tails[0]))


def _circumstances_cover(broad: Circumstances, narrow: Circumstances) -> bool:
    return (
        _within(narrow.groups, broad.groups)
        and _globs_cover(broad.agents, narrow.agents)
        and broad.window in (None, narrow.window)
    )
