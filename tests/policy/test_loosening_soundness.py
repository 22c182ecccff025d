"""Where nothing is told of a change, no call is judged laxer: random policies and calls."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.compiling import compile_policy
from mitmgate.policy.decide import decide, decide_result, hidden_names, scan_effect
from mitmgate.policy.egress import (
    connect_denied,
    decide_egress,
    deciding_egress,
    issues_tokens,
    uninspected,
)
from mitmgate.policy.loosening import loosened
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.verdict import Decision, Verdict

type Document = dict[str, Any]

VERBS = ("allow", "ask", "deny")
NAMES = ("x", "xy", "y", "ab://x/1")
TEMPLATES = ("ab://x/{id}", "ab://{id}/1", "{x}", "x{id}")
PLACES = ("/arguments/f", "/arguments/n", "/arguments/l/0", "/arguments", "/name")
EFFECTS = ("log", "redact", "ask", "deny")
WHERES: tuple[Document, ...] = (
    {"/arguments/f": {"equals": True}},
    {"/arguments/f": {"equals": 1}},
    {"/arguments/n": {"gt": 3}},
    {"/arguments/n": {"not": {"gt": 3}}},
    {"/arguments/l/*": {"prefix": "a"}},
    {"/arguments/l/*": {"prefix": "a", "match": "all"}},
    {"/arguments/f": {"exists": False}},
)
GLOBS = ("x", "xy", "y", "x*", "*y", "*", "ab://*", "ab://x/*", "*1")
PORTS = (22, 443, 9000)
REQUESTED = ("/", "/a", "/a/b", "/A/b", "/ab", "/%61/b", "/a/../b", "/a;x/b", "/b%2f..%2fa")
METHODS = ("tools/call", "resources/read", "tools/list", "ping", "*", "tools/*")


def some[T](draw: random.Random, *choices: T) -> T:
    return draw.choice(choices)


def _given(draw: random.Random, entry: Document, key: str, likely: float, value: Any) -> None:
    if draw.random() < likely:
        entry[key] = value


def built(document: Document, locked: Document) -> Policy:
    """Return the policy of *document* under the rules of *locked*."""
    fence = [{key: entry[key] for key in entry if key != "inspect"}
             for entry in locked["egress"]["rules"]]  # fmt: skip
    outside = {**document["egress"], "rules": list(map(_loadable, document["egress"]["rules"]))}
    locked, document = locked | {"egress": {"rules": fence}}, document | {"egress": outside}
    floor = RulesFile.model_validate_json(json.dumps({"version": 1, **locked}))
    file = PolicyFile.model_validate_json(json.dumps({"version": 1, **document}))
    return compile_policy(file, "", (), [("locked.yaml", floor)])


SEEN_INSIDE = {"methods", "paths", "protocol", "max_request", "max_session", "websocket", "dns",
               "oauth"}  # fmt: skip


def _loadable(entry: Document) -> Document:
    """Return *entry* as the loader would take it: TLS stays closed only where that is all."""
    closed = entry["then"] == "allow" and entry["host"][0] != "*" and not SEEN_INSIDE & set(entry)
    if entry.get("inspect") != "none" or (closed and entry.get("ports") in (None, [443])):
        return entry
    return entry | {"inspect": "headers"}


def base_entry(draw: random.Random, number: int) -> Document:
    entry: Document = {"id": f"r{number}", "then": draw.choice(VERBS)}
    _given(draw, entry, "agent", 0.15, some(draw, "ci", "dev", "*", "10.*"))
    _given(draw, entry, "group", 0.1, some(draw, "g", "h"))
    _given(draw, entry, "time", 0.05, {"from": "09:00", "to": "17:00"})
    _given(draw, entry, "mode", 0.1, "shadow")
    return entry


def mcp_entry(draw: random.Random, number: int) -> Document:
    entry = base_entry(draw, number)
    _given(draw, entry, "server", 0.3, some(draw, "a", "b", ["a", "b"]))
    _given(draw, entry, "tool", 0.7, draw.sample(GLOBS, draw.choice((1, 1, 2))))
    _given(draw, entry, "method", 0.3, draw.sample(METHODS, draw.choice((1, 1, 2))))
    _given(draw, entry, "transport", 0.05, some(draw, "sse", "websocket"))
    _given(draw, entry, "revision", 0.05, "2025-06-18")
    if entry["then"] == "deny" and "tool" in entry and draw.random() < 0.4:
        entry["hide"] = True
        return entry
    _given(draw, entry, "where", 0.35, draw.choice(WHERES))
    _given(draw, entry, "annotations", 0.15, {"readOnlyHint": draw.random() < 0.5})
    _given(draw, entry, "phase", 0.2, "result")
    if entry["then"] != "deny":
        pointers = ("/arguments/f", "/arguments/n", "/arguments/l/*", "/arguments")
        _given(draw, entry, "redact", 0.2, draw.sample(pointers, 1))
    _given(draw, entry, "scan", 0.15, {some(draw, "secrets", "injection"): draw.choice(EFFECTS)})
    return entry


def egress_entry(draw: random.Random, number: int) -> Document:
    entry = base_entry(draw, number)
    entry["host"] = some(draw, "h.example", "*.example", "i.example", "*.h.example")
    _given(draw, entry, "methods", 0.4, some(draw, "GET", "POST", ["GET", "POST"]))
    _given(draw, entry, "oauth", 0.2, True)
    _given(draw, entry, "ports", 0.3, draw.sample(PORTS, draw.choice((1, 2))))
    _given(draw, entry, "paths", 0.3, some(draw, "/", "/a", "/a/b", "/A", ["/a", "/b"]))
    _given(draw, entry, "protocol", 0.15, some(draw, "http", "a2a", ["http", "a2a"]))
    for key in ("max_request", "max_session"):
        _given(draw, entry, key, 0.15, some(draw, "1KB", "2KB"))
    _given(draw, entry, "websocket", 0.15, some(draw, "text", "any"))
    _given(draw, entry, "dns", 0.1, True)
    _given(draw, entry, "inspect", 0.15, "headers")
    if draw.random() < 0.2:
        kept = {key: entry[key] for key in entry if key not in SEEN_INSIDE | {"ports"}}
        return kept | {"inspect": "none", "then": "allow"}
    return entry


type Files = tuple[Document, Document]


def some_files(draw: random.Random) -> Files:
    """Return a policy and a locked layer."""
    mcp = [mcp_entry(draw, number) for number in range(draw.randrange(6))]
    outside = [egress_entry(draw, number) for number in range(20, 20 + draw.randrange(4))]
    floor = [mcp_entry(draw, number) for number in range(40, 40 + draw.choice((0, 0, 1, 2)))]
    fence = [egress_entry(draw, number) for number in range(60, 60 + draw.choice((0, 0, 1)))]
    document: Document = {
        "servers": {"a": {"url": "https://a.example/mcp"}, "b": {"url": "https://b.example/mcp"}},
        "mcp": {
            "rules": mcp, "otherwise": draw.choice(VERBS), "unknown_servers": draw.choice(VERBS)
        },
        "egress": {"rules": outside, "otherwise": draw.choice(VERBS)},
        "scan": {"secrets": {"arguments": draw.choice(EFFECTS)}} if draw.random() < 0.4 else {},
    }  # fmt: skip
    return document, {"mcp": {"rules": floor}, "egress": {"rules": fence}}


def changed(draw: random.Random, files: Files) -> Files:
    """Return *files* with a change or three, mostly small ones."""
    document, locked = copy.deepcopy(files)
    for step in range(draw.choice((1, 1, 1, 2, 3))):
        which = draw.random()
        section = some(draw, "mcp", "mcp", "mcp", "egress")
        make = mcp_entry if section == "mcp" else egress_entry
        held = (locked if draw.random() < 0.25 else document)[section]["rules"]
        at = draw.randrange(len(held) + 1)
        if which < 0.1:
            document[section]["otherwise"] = draw.choice(VERBS)
        elif which < 0.15:
            document["mcp"]["unknown_servers"] = draw.choice(VERBS)
        elif which < 0.4 or not held:
            held.insert(at, make(draw, 100 + step))
        elif which < 0.55:
            held.pop(at - 1)
        elif which < 0.7:
            held.insert(draw.randrange(len(held)), held.pop(at - 1))
        else:
            _change_entry(draw, held[at - 1], make)
    return document, locked


def _change_entry(draw: random.Random, entry: Document, make: Any) -> None:
    other = make(draw, 0)
    for key in draw.sample([*(set(entry) | set(other)) - {"id", "host"}], 1):
        if key in other:
            entry[key] = other[key]
        elif key != "then":
            del entry[key]
    if entry["then"] != "deny" or not {"where", "annotations", "phase"}.isdisjoint(entry):
        entry.pop("hide", None)
    if "tool" not in entry:
        entry.pop("hide", None)
    if entry["then"] == "deny":
        entry.pop("redact", None)
    if "host" not in entry and "hide" in entry:
        entry.pop("redact", None)


def some_call(draw: random.Random) -> Call:
    method = some(draw, "tools/call", "tools/call", "resources/read", "tools/list", "ping")
    keeps = method in ("tools/list", "ping")
    arguments: Document = {}
    _given(draw, arguments, "f", 0.7, some(draw, True, False, 1, "true"))
    _given(draw, arguments, "n", 0.7, some(draw, 1, 5, "5", "no"))
    _given(draw, arguments, "l", 0.5, some(draw, ["a", "b"], ["a"], [], ["b"]))
    _given(draw, arguments, some(draw, "F", "N", "L"), 0.25, True)
    return Call(
        agent=some(draw, "ci", "dev", "10.0.0.1"),
        server=some(draw, "a", "a", "b", None),
        method=method,
        tool=None if keeps else draw.choice(NAMES),
        params={"name": "x", "arguments": arguments},
        housekeeping=keeps,
        groups=frozenset(draw.sample(("g", "h"), draw.choice((0, 1)))),
        revision=some(draw, None, "2025-06-18"),
        transport=some(draw, "streamable_http", "sse"),
        annotations=some(draw, None, {}, {"readOnlyHint": True}),
        now=some(draw, 3600.0 * 3, 3600.0 * 12),
    )


def ends(policy: Policy, decision: Decision, surface: str) -> Iterator[tuple[Verdict, bool]]:
    """Yield, for findings here and there, what becomes of the message and whether it is edited."""
    for detector in ("secrets", "injection"):
        for place in PLACES:
            if any(f"{place}/".startswith(f"{gone}/") for gone in decision.redact):
                yield decision.verdict, True
                continue
            effect = decision.effects.get(detector) or scan_effect(policy, detector, surface)
            stops = Verdict.from_word(effect) if effect in ("ask", "deny") else Verdict.ALLOW
            yield max(decision.verdict, stops), effect == "redact"


type Asked = tuple[Policy, Decision]


def laxer(before: Asked, after: Asked, surface: str) -> str | None:
    """Return what is laxer *after* than *before*, None for nothing."""
    (old, was), (new, now) = before, after
    if now.verdict < was.verdict:
        return f"verdict of {now.rule}, was {was.rule}"
    if was.hidden and not now.hidden:
        return f"{now.rule} hides no longer what {was.rule} did"
    pairs = zip(ends(old, was, surface), ends(new, now, surface), strict=True)
    for (verdict, edited), (later, still) in pairs:
        if later < verdict:
            return f"a finding in what {now.rule} decides on, which {was.rule} did"
        if edited and not still and later is not Verdict.DENY:
            return f"an edit of {now.rule}, which {was.rule} made"
    return None


_OPEN = Decision(Verdict.ALLOW, "answer", "answer", "", "")


def laxer_call(old: Policy, new: Policy, call: Call) -> str | None:
    found = laxer((old, decide(old, call)), (new, decide(new, call)), "arguments")
    if found is not None:
        return found
    before, after = (decide_result(policy, call, call.params) or _OPEN for policy in (old, new))
    found = laxer((old, before), (new, after), "results")
    if found is not None:
        return f"result: {found}"
    for method, names in (("tools/list", NAMES), ("resources/list", NAMES),
                          ("resources/templates/list", TEMPLATES)):  # fmt: skip
        asked = dataclasses.replace(call, method=method, tool=None, housekeeping=True)
        hid, hides = hidden_names(old, asked), hidden_names(new, asked)
        for name in names:
            if hid is not None and hid(name) and not (hides is not None and hides(name)):
                return f"{name} is listed in {method}"
    return None


def end_of(policy: Policy, call: EgressCall) -> Decision:
    """Return what becomes of *call*: the tunnel is asked for first."""
    return connect_denied(policy, call.host, call.port) or decide_egress(policy, call)


def opened(policy: Policy, call: EgressCall) -> tuple[bool, int, bool, float, int]:
    """Return what *policy* opens for *call* beside its verdict; more is laxer, item by item."""
    rule = deciding_egress(policy, call)
    assert issues_tokens(policy, call) == (rule is not None and rule.oauth)
    if rule is None:
        return False, 0, False, inf, 0
    sockets = (None, "text", "any").index(rule.websocket)
    unread = ("body", "headers", "none").index(rule.inspect)
    return rule.oauth, sockets, rule.dns, rule.max_session or inf, unread


def laxer_request(old: Policy, new: Policy, call: EgressCall) -> str | None:
    before, after = end_of(old, call), end_of(new, call)
    if after.verdict < before.verdict:
        return f"egress: verdict of {after.rule}, was {before.rule}"
    before, after = decide_egress(old, call), decide_egress(new, call)
    if after.verdict < before.verdict:
        return f"egress: verdict of {after.rule}, was {before.rule}"
    if after.verdict is not Verdict.DENY:
        pairs = zip(opened(old, call), opened(new, call), strict=True)
        if any(now > was for was, now in pairs):
            return f"egress: {after.rule} opens more"
    if uninspected(new, call) and not uninspected(old, call):
        return "TLS stays closed that was opened"
    was, now = (connect_denied(policy, call.host, call.port) for policy in (old, new))
    if was is not None and now is None and new.unknown_servers is not Verdict.DENY:
        return f"a tunnel that {was.rule} refused"
    return None


def some_request(draw: random.Random) -> EgressCall:
    return EgressCall(
        some(draw, "ci", "10.0.0.1"),
        some(draw, "h.example", "i.example", "x.h.example"),
        draw.choice((443, 443, *PORTS)),
        some(draw, "GET", "POST"),
        draw.choice(REQUESTED),
        frozenset({"g"}),
        some(draw, 3600.0 * 3, 3600.0 * 12),
        some(draw, "http", "http", "a2a"),
        some(draw, 0, 1025, 5000),
    )


def find_laxer(seed: int, calls: int = 40) -> tuple[bool, str | None]:
    """Return whether nothing is told of a change, and what is laxer all the same."""
    draw = random.Random(seed)  # noqa: S311 - the same seed, the same policies
    files = some_files(draw)
    old, new = built(*files), built(*changed(draw, files))
    if loosened(old, new):
        return False, None
    for _ in range(calls):
        found = laxer_call(old, new, some_call(draw))
        if found is not None:
            return True, found
        request = some_request(draw)
        found = laxer_request(old, new, request)
        if found is not None:
            return True, found
    return True, None


@given(st.integers(0, 1 << 32))
def test_where_nothing_is_told_nothing_is_laxer(seed: int) -> None:
    assert find_laxer(seed)[1] is None


def test_many_small_changes_that_tighten_are_not_told() -> None:
    # Else a list of everything would be as good.
    silent = sum(find_laxer(seed, calls=0)[0] for seed in range(300))
    assert silent > 100
