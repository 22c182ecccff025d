"""What another policy would have said of decisions in the audit file.

A record holds no arguments, headers or bodies. Every possible answer to what it does not hold is
tried under both policies alike, and those that contradict the record itself are dropped. A change
is told only where all that is left agrees; else it cannot be told from the record alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final

from mitmgate.policy.compiled import Policy
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.rules import McpRule
from mitmgate.policy.unsure import Unknowns, explore
from mitmgate.policy.verdict import Verdict
from mitmgate.query.asking import Asked, side_of
from mitmgate.query.changes import Change, Side, Tally, change_of, undecidable
from mitmgate.query.records import Damage, Record
from mitmgate.query.rows import Row, row_of

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

_MOST_KEPT: Final = 4_096
_BY_RULES: Final = frozenset(
    {"rule", "otherwise", "housekeeping", "unknown_server", "finding", "hidden", "locked",
     "locked_hidden", "ambiguous_key", "request_too_large", "session_budget", "dns_over_https",
     "websocket_refused", "binary_refused", "card_changed", "port", "remembered", "answer",
     "override_refused", "not_inspected", "ticket"}
)  # fmt: skip
_ADDRESSES: Final = frozenset({"private_address"})
_AGENTS: Final = frozenset({"agent_required", "agent_refused"})


class WhatIf:
    """Two policies, asked about one decision after the other."""

    def __init__(self, before: Policy, after: Policy) -> None:
        self._before = before
        self._after = after
        self._same_packs = _texts(before) == _texts(after)
        self._same_scan = (before.effects, before.allowances) == (after.effects, after.allowances)
        self._timed = any(map(_is_timed, (before, after)))
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
            return undecidable(_ADDRESS) if self._other_addresses() else None
        if row.code in _AGENTS:
            return undecidable(_AGENT) if self._other_agents() else None
        if row.verdict is Verdict.DENY and row.code not in _BY_RULES:
            return None  # refused for what it is, whatever the rules say
        placed = self._placed(row)
        if placed is None:
            return undecidable(_PLACE)
        before, after = placed
        try:
            tries = explore(lambda unknowns: _both(before, after, unknowns))
            found = list(dict.fromkeys(tries))
        except OverflowError:
            return undecidable(_MANY)
        return self._settled(row, found)

    def _settled(self, row: Row, found: list[tuple[Side | None, Side | None]]) -> Change | None:
        """Return the change on which all of *found* that fit *row* agree."""
        sides = [(one, other) for one, other in found if one is not None and other is not None]
        if len(sides) < len(found):
            return undecidable(_BATCH if row.subject.method == "batch" else _TUNNEL)
        fitting = [pair for pair in sides if self._fits(row, *pair)]
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

    def _other_addresses(self) -> bool:
        before, after = self._before, self._after
        return (before.private_networks, dict(before.static_names)) != (
            after.private_networks, dict(after.static_names),
        )  # fmt: skip

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
    return record["agent"], record["host"], record.get("port"), record["endpoint"]


def _both(before: Asked, after: Asked, unknowns: Unknowns) -> tuple[Side | None, Side | None]:
    return side_of(before, unknowns), side_of(after, unknowns)


def _first(
    sides: list[tuple[Side, Side]], changes: list[Change | None]
) -> tuple[Side, Side] | tuple[()]:
    return next((pair for pair, one in zip(sides, changes, strict=True) if one is not None), ())


def _direction(change: Change | None) -> str:
    return "" if change is None else change.kind


def _texts(policy: Policy) -> list[str]:
    return sorted(pack.text for pack in policy.packs)


def _is_timed(policy: Policy) -> bool:
    rules: list[McpRule | EgressRule] = [*policy.mcp_rules, *policy.locked_calls.rules]
    rules += [*policy.locked_results.rules, *policy.egress_rules, *policy.locked_egress]
    return any(rule.circumstances.window is not None for rule in rules)
