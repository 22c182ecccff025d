"""What the operator chose before deciding: scopes, marks, and the details that were asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mitmgate.control.detail import Detail
from mitmgate.control.models import Pending, Row, ScopeChoice
from mitmgate_tui.entry import Entry

MAX_NAMES = 8
MAX_DETAILS = 4
_MAX_SCOPES = 400
_SEVERE = frozenset({"high", "critical"})


@dataclass(frozen=True, slots=True)
class Scoped:
    """What an answer for more than once covers: a choice of the proxy's, and what it leaves open.

    ``names`` are the arguments whose values must stay the same, ``prefix`` is the folder.
    """

    choice: ScopeChoice
    names: tuple[str, ...] = ()
    prefix: str | None = None

    def words(self, row: Row) -> str:
        """Say what it covers; the names are strangers' text."""
        if self.choice.on == "values":
            return f"{self.choice.covers}: {', '.join(self.names) or 'none chosen'}"
        if self.choice.on == "prefix" and self.prefix is not None:
            return f"{row.method} below {self.prefix} on {row.host}"
        return self.choice.covers

    @property
    def open(self) -> bool:
        """Whether something must be chosen first."""
        return self.choice.on == "values" and not self.names


def begin(choice: ScopeChoice) -> Scoped:
    """Return the narrowest form of *choice*."""
    return Scoped(choice, choice.names[:MAX_NAMES], next(iter(choice.prefixes), None))


def key_of(pending: Pending) -> str:
    """Return what equal calls have in common; a call without a fingerprint is alone."""
    return pending.fingerprint or pending.id


@dataclass(slots=True)
class Chosen:
    """Scopes by row of equal calls, marks, and details by id of a row, each bounded."""

    marked: set[str] = field(default_factory=set)
    details: OrderedDict[str, Detail | str] = field(default_factory=OrderedDict)
    _scopes: OrderedDict[str, Scoped] = field(default_factory=OrderedDict)

    def scope(self, pending: Pending) -> Scoped | None:
        """Return the scope for *pending*, the narrowest one unless another was chosen."""
        known = self._scopes.get(key_of(pending))
        if known is not None and known.choice in pending.scopes:
            return known
        return begin(pending.scopes[0]) if pending.scopes else None

    def widened(self, pending: Pending) -> Scoped | None:
        """Return the scope for *pending* if another than the narrowest was chosen."""
        scoped = self.scope(pending)
        return None if scoped is None or scoped == begin(pending.scopes[0]) else scoped

    def choose(self, pending: Pending, scoped: Scoped) -> None:
        """Note another scope for *pending* and its equals."""
        self._scopes[key_of(pending)] = scoped
        if len(self._scopes) > _MAX_SCOPES:
            self._scopes.popitem(last=False)

    def toggle(self, pending: Pending) -> None:
        """Mark *pending* and its equals, or take the mark off."""
        self.marked ^= {key_of(pending)}

    def is_marked(self, pending: Pending) -> bool:
        """Whether *pending*, or one of its equals, was marked."""
        return key_of(pending) in self.marked

    def sweep(self, waiting: Iterable[Entry]) -> None:
        """Take marks and scopes off what left: an equal call that comes later was not looked at."""
        if not (self.marked or self._scopes):
            return
        here = {key_of(entry.pending) for entry in waiting if entry.pending is not None}
        self.marked &= here
        for key in self._scopes.keys() - here:
            del self._scopes[key]

    def learn(self, row_id: str, detail: Detail | str) -> None:
        """Keep the details of a row, or why there are none."""
        self.details.pop(row_id, None)
        self.details[row_id] = detail
        if len(self.details) > MAX_DETAILS:
            self.details.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """What stood under the cursor when a key was pressed, and the key."""

    row: str
    entry: str
    fingerprint: str
    scoped: Scoped | None
    key: str = ""

    def still(self, entry: Entry | None) -> bool:
        """Whether *entry* is what was seen, and waits."""
        pending = None if entry is None else entry.pending
        return (
            pending is not None
            and pending.id == self.entry
            and pending.fingerprint == self.fingerprint
        )


def seen(entry: Entry, scoped: Scoped | None = None, key: str = "") -> Seen:
    """Return what is to be seen of a waiting *entry*."""
    pending = entry.pending
    if pending is None:
        raise ValueError("the entry does not wait")
    return Seen(entry.id, pending.id, pending.fingerprint, scoped, key)


def alike(waiting: Iterable[Entry], pending: Pending) -> int:
    """Count the waiting calls that equal *pending*, itself too."""
    key = key_of(pending)
    return sum(1 for e in waiting if e.pending is not None and key_of(e.pending) == key)


def is_severe(row: Row) -> bool:
    """Whether something was found that wants the name typed before an approval."""
    return any(finding.severity in _SEVERE for finding in row.findings)


def with_name(scoped: Scoped, name: str) -> Scoped:
    """Add the argument *name*, or take it away; at most eight are kept."""
    if name in scoped.names:
        return replace(scoped, names=tuple(one for one in scoped.names if one != name))
    if len(scoped.names) >= MAX_NAMES:
        return scoped
    return replace(
        scoped, names=tuple(n for n in scoped.choice.names if n in (*scoped.names, name))
    )
