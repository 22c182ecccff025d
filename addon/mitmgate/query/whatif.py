"""What another policy would have said of decisions in the audit file.

A record holds no arguments, headers or bodies. Every possible answer to what it does not hold is
tried under both policies alike, and those that contradict the record itself are dropped. A change
is told only where all that is left agrees; else it cannot be told from the record alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import Final

from mitmgate.judge.delegations import METHOD as DELEGATED
from mitmgate.policy.compiled import Policy
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.rules import McpRule
from mitmgate.policy.unsure import Unknowns, explore
from mitmgate.policy.unsure_settings import KNOWN, REACHED, Standings, reaches, standings
from mitmgate.policy.verdict import Verdict
from mitmgate.query.asking import Asked, is_delegated, is_oauth, side_of
from mitmgate.query.changes import Change, Side, Tally, change_of, undecidable
from mitmgate.query.records import Damage, Record
from mitmgate.query.rows import Row, row_of
from mitmgate.wire.methods import MCP_NOTIFICATIONS

BODIES: Final = "its arguments, headers or body would tell, and were not kept"
_UNREADABLE: Final = "a record that cannot be read"
_PACKS: Final = "other scanner rules, and its text was not kept"
_FINDINGS: Final = "more findings than were recorded"
_PLACE: Final = "the endpoint may be another server"
_MANY: Final = "too much of it is not known"
_BATCH: Final = "the messages of a batch were not kept"
_TUNNEL: Final = "what would go through the tunnel"
_ADDRESS: Final = "the addresses of the name were not kept"
_AGENT: Final = "the credentials of the agent were not kept"
_SETTINGS: Final = "mcp.delegated, servers or their auth decided, and are other ones"
_ANSWERS: Final = "what came back simply passed, and has no record"

_NOTIFIED: Final = "notifications/"
_NOTICES: Final = sorted(
    MCP_NOTIFICATIONS - {"notifications/initialized", "notifications/roots/list_changed"}
)
"""What servers tell without being asked."""

_MOST_KEPT: Final = 4_096
_BY_RULES: Final = frozenset(
    {"rule", "otherwise", "housekeeping", "unknown_server", "finding", "hidden", "locked",
     "locked_hidden", "ambiguous_key", "request_too_large", "session_budget", "dns_over_https",
     "websocket_refused", "binary_refused", "card_changed", "port", "remembered", "answer",
     "override_refused", "not_inspected", "ticket"}
)  # fmt: skip
_ADDRESSES: Final = frozenset({"private_address"})
_AGENTS: Final = frozenset({"agent_required", "agent_refused"})
_ARRIVING: Final = frozenset({"connect", "request"})
"""What comes from an agent and opens a connection."""


class WhatIf:
    """Two policies, asked about one decision after the other."""

    def __init__(self, before: Policy, after: Policy) -> None:
        self._before = before
        self._after = after
        self._same_packs = _texts(before) == _texts(after)
        self._same_scan = (before.effects, before.allowances) == (after.effects, after.allowances)
        self._timed = any(map(_is_timed, (before, after)))
        self._notices = _ruled_notices(before, after)
        self._kept: dict[Hashable, Change | None] = {}
        self.at = 0.0
        """When the last decision that was asked about was made, in seconds since the epoch."""

    def change(self, record: Record) -> Change | None:
        """Return how the second policy decides *record* in another way than the first, or None."""
        try:
            row = row_of(record)
        except ValueError:
            return undecidable(_UNREADABLE)
        self.at = row.at
        if self._before.hash == self._after.hash:
            return None
        key = (row.key, int(row.at // 60) if self._timed else 0)
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self._change(row)
        return self._kept[key]

    def _change(self, row: Row) -> Change | None:
        if row.code in _ADDRESSES:
            return undecidable(_ADDRESS) if self._is_readdressed(row) else None
        if row.code in _AGENTS:
            return undecidable(_AGENT) if self._other_agents() else None
        if row.verdict is Verdict.DENY and row.code not in _BY_RULES:
            return None  # refused for what it is, whatever the rules say
        placed = self._placed(row)
        if placed is None:
            return undecidable(_PLACE)
        if self._is_set_otherwise(row):
            return undecidable(_SETTINGS)
        told = _common([self._known(row, placed, one) for one in self._standings(row)], _AGENT)
        return told or self._unrecorded(row, placed)

    def _is_set_otherwise(self, row: Row) -> bool:
        """Tell whether *row* was decided by a setting that is no rule, and is another one now."""
        before, after = self._before, self._after
        if is_delegated(row):
            return _delegating(before) != _delegating(after)
        homes = [(dict(policy.auth_hosts), dict(policy.server_urls)) for policy in (before, after)]
        return is_oauth(row) and homes[0] != homes[1]

    def _unrecorded(self, row: Row, placed: tuple[Asked, Asked]) -> Change | None:
        """Return that what came back may be decided otherwise: what simply passes has no record."""
        method = row.subject.method
        if row.kind != "request" or row.subject.channel != "mcp" or method.startswith(_NOTIFIED):
            return None
        if row.verdict is Verdict.DENY:
            return None
        silent = replace(row, kind="answer", verdict=Verdict.ALLOW, findings=(), complete=True)
        came = [replace(silent, rule="answer", code="answer")]
        for notice in self._notices:
            subject = replace(row.subject, method=notice, tool=None)
            code = "housekeeping"
            came.append(replace(silent, kind="event", subject=subject, rule=code, code=code))
        for one in came:
            asked = replace(placed[0], row=one), replace(placed[1], row=one)
            change = self._known(one, asked, KNOWN, strict=True)
            if change is not None:
                return replace(change, kind="undecidable", why=change.why or _ANSWERS)
        return None

    def _standings(self, row: Row) -> list[Standings]:
        if row.kind not in _ARRIVING:
            return [KNOWN]
        return standings(self._before, self._after, row.subject.agent, row.policy)

    def _is_readdressed(self, row: Row) -> bool:
        found = reaches(self._before, self._after, row.subject.host, "")
        return any(first is not second for first, second in found)

    def _known(
        self, row: Row, placed: tuple[Asked, Asked], standing: Standings, *, strict: bool = False
    ) -> Change | None:
        """Return the change where the policies take the agent for what *standing* says.

        *strict*: nobody knows that there was such a row, so nothing is told of one that cannot be.
        """
        if "other" in standing:
            return undecidable(_AGENT)
        before, after = (
            replace(asked, standing=one) for asked, one in zip(placed, standing, strict=True)
        )
        try:
            tries = explore(lambda unknowns: _both(before, after, unknowns))
            found = list(dict.fromkeys(tries))
        except OverflowError:
            return undecidable(_MANY)
        sides = [(one, other) for one, other in found if one is not None and other is not None]
        if len(sides) < len(found):
            return undecidable(_BATCH if row.subject.method == "batch" else _TUNNEL)
        if strict:
            sides = [pair for pair in sides if self._fits(row, *pair)]
        return _common([self._settled(row, sides, one) for one in self._reaches(row)], _ADDRESS)

    def _reaches(self, row: Row) -> list[tuple[bool, bool]]:
        if row.kind not in _ARRIVING:
            return [REACHED]
        return reaches(self._before, self._after, row.subject.host, row.policy)

    def _settled(
        self, row: Row, sides: list[tuple[Side, Side]], reach: tuple[bool, bool]
    ) -> Change | None:
        """Return the change on which all of *sides* that fit *row* agree."""
        fitting = [pair for pair in sides if self._fits(row, *pair)]
        fitting, sides = ([_dialled(pair, reach) for pair in some] for some in (fitting, sides))
        changes = [change_of(*pair) for pair in fitting or sides]
        if not self._same_scan and not row.complete and any(changes):
            return undecidable(_FINDINGS, *_first(fitting or sides, changes))
        if not self._same_packs and any(
            other.verdict is not Verdict.DENY for _, other in fitting or sides
        ):
            return undecidable(_PACKS)
        if not any(changes):
            return None
        if fitting and len({_direction(change) for change in changes}) == 1:
            return changes[0]
        return undecidable(BODIES, *_first(fitting or sides, changes))

    def _fits(self, row: Row, before: Side, after: Side) -> bool:
        """Tell whether the record can be what its own policy said, if that is one of the two."""
        for policy, side in ((self._before, before), (self._after, after)):
            if policy.hash != row.policy:
                continue
            if side.said is not row.verdict or (side.rule != row.rule and not row.granted):
                return False
        return True

    def _placed(self, row: Row) -> tuple[Asked, Asked] | None:
        """Return whom each policy takes the endpoint of *row* for, None where that is unclear."""
        policies = self._before, self._after
        servers = [self._server(row, *pair) for pair in (policies, policies[::-1])]
        if any(server is _UNCLEAR for server in servers):
            return None
        if row.subject.channel == "egress" and servers[0] != servers[1]:
            return None  # what is not MCP for one of them may be for the other
        before, after = (
            Asked(policy, row, None if server is None else str(server))
            for policy, server in zip(policies, servers, strict=True)
        )
        return before, after

    @staticmethod
    def _server(row: Row, policy: Policy, other: Policy) -> object:
        subject, path = row.subject, row.path
        if policy.hash == row.policy or row.kind == "connect":
            return subject.server
        known = subject.server
        if known is not None and known in policy.server_urls:
            same = policy.server_urls[known] == other.server_urls.get(known)
            if same and len(policy.server_urls) == len(other.server_urls):
                return known
        if path is None:
            same = dict(policy.server_urls) == dict(other.server_urls)
            return known if same else _UNCLEAR
        found = policy.server_for(row.scheme, subject.host, subject.port, path)
        if found is not None or known is None:
            return found
        # Messages of HTTP+SSE go to another path than the one that names the server.
        same = policy.server_urls.get(known) == other.server_urls.get(known)
        return known if same and known in policy.server_urls else None

    def _other_agents(self) -> bool:
        before, after = self._before, self._after
        return (before.require_agents, before.agents) != (after.require_agents, after.agents)


_UNCLEAR: Final = object()


def tally_records(
    whatif: WhatIf,
    records: Iterable[Record | Damage],
    tally: Tally,
    *,
    since: str,
    known: Callable[[Record], bool] = lambda _: False,
) -> None:
    """Count into *tally* what changes for the decisions among *records* from *since* on.

    Those that are *known* are left out: they were judged with their bodies.
    """
    for record in records:
        if isinstance(record, Damage):
            tally.damaged += not record.noted
        elif record["type"] == "decision" and record["time"] >= since:
            if known(record):
                continue
            change = whatif.change(record)
            tally.saw(whatif.at)
            if change is not None:
                tally.add(change, str(record["id"]), _question(record, change))


def _question(record: Record, change: Change) -> Hashable:
    if change.rule != "unknown_servers":
        return None
    return f"{record['agent']} {record['endpoint']}"  # as captures tell it


def _common(found: list[Change | None], why: str) -> Change | None:
    """Return the change on which all of *found* agree; where they do not, *why* says why."""
    if len({_direction(change) for change in found}) == 1:
        return found[0]
    one = next(change for change in found if change is not None)
    return Change("undecidable", one.before, one.after, one.rule, why)


def _dialled(pair: tuple[Side, Side], reach: tuple[bool, bool]) -> tuple[Side, Side]:
    """Return *pair* where what passes is stopped when its host may not be dialled."""
    before, after = (
        side if reached or side.verdict is Verdict.DENY else _UNREACHED
        for side, reached in zip(pair, reach, strict=True)
    )
    return before, after


_UNREACHED: Final = Side(Verdict.DENY, "private_address", (), Verdict.DENY)


def _both(before: Asked, after: Asked, unknowns: Unknowns) -> tuple[Side | None, Side | None]:
    return side_of(before, unknowns), side_of(after, unknowns)


def _first(
    sides: list[tuple[Side, Side]], changes: list[Change | None]
) -> tuple[Side, Side] | tuple[()]:
    return next((pair for pair, one in zip(sides, changes, strict=True) if one is not None), ())


def _direction(change: Change | None) -> str:
    return "" if change is None else change.kind


def _delegating(policy: Policy) -> object:
    """Return all that decides on MCP servers that are handed over to a model API."""
    rules = [*policy.mcp_rules, *policy.locked_calls.rules]
    meant = [rule for rule in rules if rule.is_for_method(DELEGATED, housekeeping=True)]
    return policy.delegated, policy.unknown_servers, dict(policy.server_urls), meant


def _ruled_notices(before: Policy, after: Policy) -> tuple[str, ...]:
    """Return the notifications that a rule names: others of a server simply pass."""
    rules = [rule for one in (before, after) for rule in (*one.mcp_rules, *one.locked_calls.rules)]
    named = [rule.methods for rule in rules if rule.methods is not None]
    return tuple(notice for notice in _NOTICES if any(methods.matches(notice) for methods in named))


def _texts(policy: Policy) -> list[str]:
    return sorted(pack.text for pack in policy.packs)


def _is_timed(policy: Policy) -> bool:
    rules: list[McpRule | EgressRule] = [*policy.mcp_rules, *policy.locked_calls.rules]
    rules += [*policy.locked_results.rules, *policy.egress_rules, *policy.locked_egress]
    return any(rule.circumstances.window is not None for rule in rules)
