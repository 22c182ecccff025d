"""Remembered answers: what an operator said of one call and of all that are like it.

No clock, no I/O. Times are seconds on any monotonic clock of the caller's.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Literal

from mitmgate.hold.target import On, Target

MOST_VALUES = 8
"""So many arguments an answer may be bound to."""
_MOST_ALIKE = 64
_NARROW_FIRST: tuple[On, ...] = ("call", "values", "tool", "server", "url", "prefix", "host")

type _Key = tuple[Hashable, ...]


class GrantsFullError(Exception):
    """As many answers are remembered as can be; one has to be undone first."""


class NotCoveredError(Exception):
    """The call has nothing that such an answer could be about; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an answer covers: ``on`` says how much of the call that was answered.

    ``names`` are the arguments whose values count for ``values``; ``prefix`` is the folder for
    ``prefix``. ``session`` limits it to that conversation.
    """

    on: On
    names: tuple[str, ...] = ()
    prefix: str | None = None
    session: Hashable | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A remembered answer. ``until`` is when it ends, None: with its session, or with this run.

    ``outcome`` is the id of the call that it was given to; ``reason`` is read by the agent.
    """

    id: str
    answer: Literal["allow", "deny"]
    scope: Scope
    agent: str
    outcome: str
    operator: str | None
    until: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """An answer about to be remembered; the fields are those of :class:`Grant`."""

    answer: Literal["allow", "deny"]
    scope: Scope
    outcome: str
    operator: str | None = None
    until: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as a capture keeps it: a ticket for one retry where ``scope`` is None.

    It lasts ``seconds``; None: as long as the session of the call that was answered.
    """

    answer: Literal["allow", "deny"]
    scope: Scope | None = None
    seconds: int | None = None


class Grants:
    """The remembered answers, at most *limit*: none is forgotten to make room for another."""

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._keys: dict[str, _Key] = {}
        self._by_key: dict[_Key, str] = {}
        self._values: dict[_Key, Counter[tuple[str, ...]]] = {}
        self._folders: dict[_Key, Counter[str]] = {}
        self._by_session: dict[Hashable, set[str]] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._grants)

    def get(self, grant_id: str) -> Grant | None:
        """Return a grant, whether its time is over or not."""
        return self._grants.get(grant_id)

    def good(self, *, now: float) -> tuple[Grant, ...]:
        """Return the grants that count at *now*, the oldest first."""
        return tuple(g for g in self._grants.values() if g.until is None or g.until > now)

    def add(self, target: Target, said: Said, *, now: float) -> Grant:
        """Remember what was *said* of *target*; the same scope's earlier answer makes room for it.

        Raises :class:`GrantsFullError`, and :class:`NotCoveredError` for a scope that the target
        does not have.
        """
        key = _key(target, said.scope)
        self.expire(now=now)
        before = self._by_key.get(key)
        if before is not None:
            self.revoke(before)
        if len(self._grants) >= self._limit:
            raise GrantsFullError
        if said.scope.on == "values":
            self._add_names(key, said.scope.names)
        self._made += 1
        grant = Grant(f"g{self._made}", said.answer, said.scope, target.agent, said.outcome,
                      said.operator, said.until, said.reason)  # fmt: skip
        self._put(grant, key)
        return grant

    def same(self, target: Target, scope: Scope) -> Grant | None:
        """Return the grant whose place an answer for *scope* of *target* would take, or None.

        Raises :class:`NotCoveredError` as :meth:`add` does.
        """
        return self._grants.get(self._by_key.get(_key(target, scope), ""))

    def restore(self, target: Target, grant: Grant) -> None:
        """Put back *grant*, which another answer of the same scope of *target* had replaced."""
        key = _key(target, grant.scope)
        if grant.scope.on == "values":
            self._add_names(key, grant.scope.names)
        self._put(grant, key)

    def end_session(self, session: Hashable) -> None:
        """Forget the grants for *session*: it is over."""
        for grant_id in tuple(self._by_session.get(session, ())):
            self.revoke(grant_id)

    def _put(self, grant: Grant, key: _Key) -> None:
        self._grants[grant.id] = grant
        self._keys[grant.id] = key
        self._by_key[key] = grant.id
        if grant.scope.session is not None:
            self._by_session.setdefault(grant.scope.session, set()).add(grant.id)
        if grant.scope.on == "prefix":
            self._folders.setdefault(_folder_place(key), Counter())[grant.scope.prefix or ""] += 1

    def revoke(self, grant_id: str) -> Grant | None:
        """Forget a grant and return it, or None: it is not there (any more)."""
        grant = self._grants.pop(grant_id, None)
        if grant is not None:
            key = self._keys.pop(grant_id)
            self._by_key.pop(key, None)
            _drop(self._by_session, grant.scope.session, grant_id)
            if grant.scope.on == "values":
                _uncount(self._values, _place(key), grant.scope.names)
            elif grant.scope.on == "prefix":
                _uncount(self._folders, _folder_place(key), grant.scope.prefix or "")
        return grant

    def expire(self, *, now: float) -> list[Grant]:
        """Forget the grants whose time is over and return them."""
        late = [g for g in self._grants.values() if g.until is not None and g.until <= now]
        for grant in late:
            self.revoke(grant.id)
        return late

    def next_end(self) -> float | None:
        """Return when :meth:`expire` has work next, or None while no grant ends by itself."""
        return min((g.until for g in self._grants.values() if g.until is not None), default=None)

    def covering(self, target: Target, *, now: float) -> Grant | None:
        """Return the grant that decides on *target*: a deny before an allow, else the narrowest."""
        found = [
            grant
            for grant in map(self._grants.get, self._candidates(target))
            if grant is not None and (grant.until is None or grant.until > now)
        ]
        denied = next((grant for grant in found if grant.answer == "deny"), None)
        return denied or next(iter(found), None)

    def _candidates(self, target: Target) -> Iterator[str]:
        """Yield the ids of what covers *target*, the narrowest first."""
        for scope in self._scopes(target):
            for session in {None, target.session}:
                key = _key(target, Scope(scope.on, scope.names, scope.prefix, session))
                grant_id = self._by_key.get(key)
                if grant_id is not None:
                    yield grant_id
        yield from self._unknown(target)

    def _scopes(self, target: Target) -> Iterator[Scope]:
        for on in _NARROW_FIRST:
            if on not in target.scopes:
                continue
            if on == "values":
                for names in self._values.get((target.agent, *_aim(target)), ()):
                    if all(name in (target.arguments or ()) for name in names):
                        yield Scope("values", names)
            elif on == "prefix":
                known = self._folders.get((target.agent, target.method, target.origin), ())
                within = sorted(filter(target.lies_in, known), key=len, reverse=True)
                yield from (Scope("prefix", prefix=folder) for folder in within)
            else:
                yield Scope(on)

    def _unknown(self, target: Target) -> Iterator[str]:
        """Yield the denials that may be about *target*, of which something is not known."""
        if target.channel == "mcp":
            known = target.call is not None and target.arguments is not None
        else:
            known = target.call is not None and target.path is not None
        if not known:
            for grant in self._grants.values():
                if grant.answer == "deny" and self._may_cover(grant, target):
                    yield grant.id

    def _may_cover(self, grant: Grant, target: Target) -> bool:
        key = self._keys[grant.id]
        if key[1] != target.agent or key[2] not in (None, target.session):
            return False
        match grant.scope.on:
            case "call":
                return target.call is None and key[3:8] == _aim(target)
            case "values":
                return target.arguments is None and key[3:8] == _aim(target)
            case "prefix":
                return target.path is None and key[3:5] == (target.method, target.origin)
            case _:
                return False

    def _add_names(self, key: _Key, names: tuple[str, ...]) -> None:
        known = self._values.setdefault(_place(key), Counter())
        if names not in known and len(known) >= _MOST_ALIKE:
            raise GrantsFullError
        known[names] += 1


def _uncount[T](table: dict[_Key, Counter[T]], place: _Key, value: T) -> None:
    known = table[place]
    known[value] -= 1
    if not known[value]:
        del known[value]
    if not known:
        del table[place]


def _drop(table: dict[Hashable, set[str]], session: Hashable, grant_id: str) -> None:
    known = table.get(session)
    if known is not None:
        known.discard(grant_id)
        if not known:
            del table[session]


def _folder_place(key: _Key) -> _Key:
    """Return agent, method and origin, of the key of an answer about a folder."""
    return key[1], key[3], key[4]


def _place(key: _Key) -> _Key:
    """Return the agent and what it calls, of the key of an answer about values."""
    return key[1], *key[3:8]


def _aim(target: Target) -> _Key:
    """Return what a call goes to."""
    return target.channel, target.server, target.method, target.tool or "", target.origin


def _key(target: Target, scope: Scope) -> _Key:
    """Return what all calls that *scope* of *target* covers have in common."""
    if scope.on not in target.scopes:
        raise NotCoveredError(f"this call has no {scope.on} to remember an answer for")
    head: _Key = (scope.on, target.agent, scope.session)
    match scope.on:
        case "call":
            return (*head, *_aim(target), target.call)
        case "values":
            return (*head, *_aim(target), *_values(target, scope.names))
        case "tool":
            return (*head, target.server, target.method, target.tool)
        case "server":
            return (*head, target.server)
        case "url":
            return (*head, target.method, target.url)
        case "prefix":
            if not target.lies_in(scope.prefix or ""):
                raise NotCoveredError("the prefix is no folder that the path lies in")
            return (*head, target.method, target.origin, scope.prefix)
        case "host":
            return (*head, target.origin)


def _values(target: Target, names: tuple[str, ...]) -> Iterator[Hashable]:
    known = target.arguments or {}
    if not 1 <= len(names) <= MOST_VALUES or len(set(names)) != len(names):
        raise NotCoveredError(f"name 1 to {MOST_VALUES} arguments, each once")
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise NotCoveredError("the call has no argument with that name")
    return (pair for name in names for pair in (name, known[name]))
