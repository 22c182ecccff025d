"""How many decisions of some time an answer for ever would have settled, had it been there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mitmgate.policy.remembered import RememberedRule
from mitmgate.policy.verdict import Verdict
from mitmgate.query.records import Damage, Record
from mitmgate.query.rows import Row, row_of

_REQUESTS: Final = frozenset({"request", "message"})
_BY_RULES: Final = frozenset({"rule", "otherwise", "hidden"})
_FINE: Final = frozenset({"call", "values", "url"})
_DAY: Final = 86_400.0


@dataclass(slots=True)
class Settled:
    """``count`` decisions since ``begin`` that the rule would have made, and ``unsure`` ones.

    These are of its tool or host; whether its arguments or its URL are meant was not kept. Times
    are in seconds since the epoch. ``partial``: not everything was looked at.
    """

    answer: str
    begin: float
    end: float
    count: int = 0
    unsure: int = 0
    partial: bool = False

    @property
    def sentence(self) -> str:
        """In words: ``in 7 days this would have allowed 3 calls that asked``."""
        days = max(1, round((self.end - self.begin) / _DAY))
        what = "allowed {} that asked" if self.answer == "allow" else "denied {} that did not"
        some = "no call" if not self.count else f"{self.count} call{'s'[: self.count > 1]}"
        said = f"in {days} day{'s'[: days > 1]} this would have {what.format(some)}"
        more = f"; {self.unsure} more may be meant" if self.unsure else ""
        return f"{'at least, ' if self.partial else ''}{said}{more}"


def tally_settled(
    rule: RememberedRule, records: Iterable[Record | Damage], settled: Settled, *, since: str
) -> None:
    """Count into *settled* the decisions from *since* on that *rule* would have made."""
    for record in records:
        if isinstance(record, Damage) or record["type"] != "decision" or record["time"] < since:
            continue
        if record["agent"] != rule.agent or record["code"] not in _BY_RULES:
            continue
        try:
            row = row_of(record)
        except ValueError:
            continue
        if not (_may_settle(rule, row) and _is_about(rule, row)):
            continue
        if rule.covers in _FINE or not row.names_tool or (rule.prefix and row.path is None):
            settled.unsure += 1
        else:
            settled.count += 1


def _may_settle(rule: RememberedRule, row: Row) -> bool:
    """Tell whether the answer makes a difference: an allow to what asks, a deny to the rest."""
    if row.kind not in _REQUESTS or row.subject.channel != rule.channel or row.granted:
        return False
    if rule.then == "allow":
        return row.verdict is Verdict.ASK
    return row.verdict is not Verdict.DENY


def _is_about(rule: RememberedRule, row: Row) -> bool:
    """Tell whether *row* is of the server or host that *rule* names, and of its tool or folder."""
    subject = row.subject
    if rule.channel == "mcp":
        url = f"{row.scheme}://{subject.host}:{subject.port}{row.path}"
        if rule.server != (subject.server or url):
            return False
    elif rule.origin != f"{row.scheme}://{subject.host}:{subject.port}":
        return False
    if rule.method is not None and rule.method != subject.method:
        return False
    if rule.tool is not None and row.names_tool and rule.tool != subject.tool:
        return False
    if rule.prefix is None or row.path is None:
        return True
    return row.path.startswith(f"{rule.prefix}/")
