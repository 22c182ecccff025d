"""Answers for ever, tried the way that answers for a time are: by what a call is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mitmgate.hold.grants import Grants, Said, Scope
from mitmgate.hold.target import On, Target
from mitmgate.policy.remembered import Remembered, RememberedRule

_FINE: frozenset[On] = frozenset({"call", "values", "url"})
_MADE = "tried"


@dataclass(frozen=True, slots=True)
class _Tried:
    """The rules as grants. ``names`` are the arguments that rules look at."""

    grants: Grants
    rules: dict[str, RememberedRule]
    names: frozenset[str]
    fine: bool


def rule_for(remembered: Remembered, target: Target) -> RememberedRule | None:
    """Return the rule that decides on *target*: a deny before an allow, else the narrowest."""
    tried = _tried(remembered)
    found = tried.grants.covering(_keyed(remembered, tried, target), now=0.0)
    return None if found is None else tried.rules[found.id]


def needs_hashes(remembered: Remembered) -> bool:
    """Tell whether some rule looks at more than what a call aims at."""
    return _tried(remembered).fine


def warm(remembered: Remembered | None) -> None:
    """Make what trying the rules needs, which takes a while for many of them."""
    if remembered is not None:
        _tried(remembered)


def scope_of_rule(rule: RememberedRule) -> Scope:
    """Return what *rule* covers, as answers for a time say it."""
    return Scope(rule.covers, tuple(name for name, _ in rule.values), rule.prefix)


def _tried(remembered: Remembered) -> _Tried:
    made = remembered.made.get(_MADE)
    if isinstance(made, _Tried):
        return made
    grants, rules = Grants(limit=len(remembered.rules) + 1), dict[str, RememberedRule]()
    # Of an allow and a deny that mean the same calls, the one that is added last counts.
    for rule in sorted(remembered.rules, key=lambda rule: rule.then == "deny"):
        said = Said(rule.then, scope_of_rule(rule), rule.id)
        rules[grants.add(_target(rule), said, now=0.0).id] = rule
    names = frozenset(name for rule in remembered.rules for name, _ in rule.values)
    fine = any(rule.covers in _FINE for rule in remembered.rules)
    tried = remembered.made[_MADE] = _Tried(grants, rules, names, fine)
    return tried


def _target(rule: RememberedRule) -> Target:
    return Target(
        agent=rule.agent,
        channel=rule.channel,
        method=rule.method or "",
        call=rule.call,
        server=rule.server or "",
        tool=rule.tool,
        arguments=dict(rule.values),
        origin=rule.origin or "",
        path=None if rule.prefix is None else f"{rule.prefix}/",
        url=rule.url or "",
    )


def _keyed(remembered: Remembered, tried: _Tried, target: Target) -> Target:
    """Return *target* with the hashes that stand in the file."""
    if not tried.fine:  # nothing looks at them, so nothing of them is unknown
        return replace(target, call="", arguments={} if target.channel == "mcp" else None)
    given = target.arguments
    looked = None if given is None else {
        name: remembered.keyed(given[name]) for name in tried.names if name in given
    }  # fmt: skip
    call = None if target.call is None else remembered.keyed(target.call)
    url = remembered.keyed(target.url) if target.url else ""
    return replace(target, call=call, arguments=looked, url=url)
