"""What people decided on traffic that is not MCP, as the narrowest rules that would say the same.

Hosts, paths and methods are strangers' text: only what a rule can name exactly is proposed, and
what is left out is told with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from mitmgate.errors import WireError
from mitmgate.policy.call import EgressCall, request_call
from mitmgate.policy.compiled import Policy
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.hosts import tags_of
from mitmgate.policy.syntax import parse_http_method, parse_path_prefix
from mitmgate.policy.url_paths import prefixes_cover
from mitmgate.query.join import Entry
from mitmgate.query.records import Record

MAX_GROUPS: Final = 1_000
"""Hosts by port and answer that are looked at; more are counted only."""
_MOST_PATHS = 5
_LONGEST = 290  # records cut longer URLs
_PEOPLE = frozenset({"console", "shell", "api"})
_NEVER = ("carrier", "doh")
_TOO_MANY = "too many hosts"

type Answer = Literal["deny", "ask", "allow"]
ORDER: Final[tuple[Answer, ...]] = ("deny", "allow", "ask")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request of the records: what answer it got, and which rule decided before."""

    call: EgressCall
    answer: Answer
    rule: str


@dataclass(slots=True)
class Group:
    """Requests to one host and port that got the same answer; a path ``""`` is the whole host."""

    host: str
    port: int
    answer: Answer
    count: int = 0
    methods: set[str] = field(default_factory=set)
    protocols: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    samples: list[EgressCall] = field(default_factory=list)

    def add(self, seen: Seen, path: str) -> None:
        """Count *seen*, whose *path* a rule can name."""
        self.count += 1
        self.methods.add(seen.call.method)
        self.protocols.add(seen.call.protocol)
        self.agents.add(seen.call.agent)
        self.rules.add(seen.rule)
        if not prefixes_cover(self.paths, [path]):
            self.paths.add(path)
        if len(self.paths) > _MOST_PATHS:
            self.paths = {_common(self.paths)}
        if len(self.samples) < _MOST_PATHS:
            self.samples.append(seen.call)


@dataclass(slots=True)
class Lessons:
    """What was learned: groups to make rules of, and why others were left out, counted."""

    groups: list[Group] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def leave_out(self, why: str) -> None:
        """Count *why* a request taught nothing; ``""`` needs no words."""
        if why:
            known = why in self.left_out or len(self.left_out) < MAX_GROUPS
            self.left_out[why if known else _TOO_MANY] += 1


def lessons(entries: Iterable[Entry]) -> Lessons:
    """Return what *entries*, decisions with their answers, teach on egress."""
    found = Lessons()
    groups: dict[tuple[str, int, Answer], Group] = {}
    for entry in entries:
        record = entry.decision
        if record.get("channel") != "egress" or record.get("kind") != "request":
            continue
        seen = _seen(entry)
        if isinstance(seen, str):
            found.leave_out(seen)
            continue
        key = (seen.call.host, seen.call.port, seen.answer)
        if key not in groups and len(groups) >= MAX_GROUPS:
            found.leave_out(_TOO_MANY)
            continue
        path = _nameable(seen.call.path)
        if path == "" and seen.answer == "allow" and seen.call.path != "/":
            found.leave_out(f"{seen.call.host}: no rule can name the path of this request")
            continue
        groups.setdefault(key, Group(*key)).add(seen, path)
    found.groups = sorted(groups.values(), key=_order)
    return found


def placed(
    policy: Policy, found: Lessons, count: int, taken: Iterable[str]
) -> dict[int, list[dict[str, Any]]]:
    """Return a rule for each group by the place among the *count* own egress rules of *policy*.

    A new rule stands above the one that decided before, else it would never decide, and else at
    the end. *taken* are the ids that there are.
    """
    places = {rule.id: n for n, rule in enumerate(policy.egress_rules) if not rule.layer}
    above: dict[int, list[dict[str, Any]]] = {}
    for group, rule in zip(found.groups, proposals(policy, found, taken), strict=True):
        at = min((places[one] for one in group.rules if one in places), default=count)
        above.setdefault(at, []).append(rule)
    return above


def proposals(policy: Policy, found: Lessons, taken: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield a rule, as plain values, for each group, those that deny first.

    *taken* are the ids that there are.
    """
    used = set(taken)
    for group in found.groups:
        name = f"learned-{group.host.replace(':', '-')}"[:90]
        rule_id, number = name, 2
        while rule_id in used:
            rule_id, number = f"{name}-{number}", number + 1
        used.add(rule_id)
        yield _rule(policy, group, rule_id)


def still_other(policy: Policy, found: Lessons) -> list[str]:
    """Return the hosts on which *policy*, with the proposed rules in it, says something else."""
    return sorted(
        {
            group.host
            for group in found.groups
            for call in group.samples
            if decide_egress(policy, _with_groups(policy, call)).verdict.word != group.answer
        }
    )


def _with_groups(policy: Policy, call: EgressCall) -> EgressCall:
    return replace(call, groups=policy.agents.groups_of(call.agent))


def _rule(policy: Policy, group: Group, rule_id: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": rule_id, "host": group.host, "ports": [group.port]}
    if "" not in group.paths:
        rule["paths"] = sorted(group.paths)
    rule["methods"] = sorted(group.methods)
    if group.protocols != {"http"}:
        rule["protocol"] = sorted(group.protocols)
    if group.agents <= policy.agents.names:
        rule["agent"] = sorted(group.agents)
    if group.answer != "deny":
        rule |= _opened(policy, group)
    return rule | {"then": group.answer}


def _opened(policy: Policy, group: Group) -> dict[str, Any]:
    """Return what the rule has to open: it stands above those that opened it until now."""
    before = [rule for rule in policy.egress_rules if rule.id in group.rules]
    known = len(before) == len(group.rules)
    opened: dict[str, Any] = {}
    if "websocket" in group.protocols:
        binary = known and all(rule.websocket == "any" for rule in before)
        opened["websocket"] = "any" if binary else "text"
    if known and all(rule.dns for rule in before):
        opened["dns"] = True
    return opened


def _seen(entry: Entry) -> Seen | str:
    """Return the request of *entry*, or why no rule is made of it; ``""`` where none is needed."""
    record = entry.decision
    host, code = str(record["host"]), str(record["code"])
    if code not in ("rule", "otherwise"):
        return f"{host}: decided by {code}" if record["verdict"] != "allow" else ""
    answer = _answer(entry)
    if answer is None:
        unanswered = record["verdict"] == "ask"
        return f"{host}: asked, and nobody answered" if unanswered else ""
    tagged = [tag for tag in tags_of(host) if tag in _NEVER]
    if tagged and answer != "deny":
        return f"{host}: tagged {tagged[0]}"
    call = _call(record)
    if call is None:
        return f"{host}: no rule can name this request"
    return Seen(call, answer, str(record["rule"]))


def _answer(entry: Entry) -> Answer | None:
    """Return what a person said, or what to say of what no rule was for; None: leave it."""
    record, resolution = entry.decision, entry.resolution
    if resolution is not None:
        answer = resolution.get("answer")
        by_person = resolution.get("via") in _PEOPLE
        return answer if by_person and answer in ("allow", "deny") else None
    if record["code"] != "otherwise" or record["verdict"] == "ask":
        return None
    # What was let through in shadow mode, or because otherwise allows, is what is in use.
    passed = record["verdict"] == "allow" or record.get("enforced") is False
    return "allow" if passed else "ask"


def _call(record: Record) -> EgressCall | None:
    endpoint, port = str(record["endpoint"]), record.get("port")
    if len(endpoint) >= _LONGEST:
        endpoint = endpoint.rpartition("/")[0]
    try:
        method = parse_http_method(str(record["method"]))
        call = request_call(endpoint, method, str(record["agent"]))
    except (WireError, ValueError):
        return None
    if (call.host, call.port) != (record["host"], port):
        return None
    protocol = record.get("protocol")
    return replace(call, protocol=protocol) if isinstance(protocol, str) else call


def _nameable(path: str) -> str:
    """Return the longest part of *path* that a rule can name; ``""`` is the whole host."""
    while path and path != "/":
        try:
            return parse_path_prefix(path)
        except ValueError:
            path = path.rpartition("/")[0]
    return ""


def _common(paths: Iterable[str]) -> str:
    """Return the longest path, in whole segments, that all *paths* are below."""
    split = [path.split("/") for path in paths]
    same: list[str] = []
    for segments in zip(*split, strict=False):
        if len(set(segments)) > 1:
            break
        same.append(segments[0])
    return "/".join(same)


def _order(group: Group) -> tuple[int, str, int]:
    return ORDER.index(group.answer), group.host, group.port
