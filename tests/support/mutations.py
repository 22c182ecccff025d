"""Single edits of the starter policy, and what a small model of policies says of each.

The model knows no code of the program: it reads the YAML as data and follows docs/policy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from importlib.resources import files
from itertools import combinations
from typing import Any

import yaml

type Policy = dict[str, Any]
type Edit = tuple[str, Callable[[Policy], object]]
type Decided = tuple[str, str, bool]
"""A verdict, the rule that gave it, and whether a text is replaced."""

STRICTNESS = ["allow", "ask", "deny"]
SERVERS = {
    "github": "api.githubcopilot.com/mcp/x",
    "deepwiki": "mcp.deepwiki.com/mcp",
    "context7": "mcp.context7.com/mcp",
    "microsoft-learn": "learn.microsoft.com/api/mcp",
    None: "mcp.other.example/mcp",
}


@dataclass(frozen=True)
class Case:
    """One exchange: a call of MCP, or a request to *host*; *found* is what its answer holds.

    ``sent`` is what the request holds: ``secrets`` or nothing.
    """

    server: str | None = None
    tool: str = ""
    method: str = "tools/call"
    force: bool | None = None
    host: str = ""
    sent: str = ""
    found: str = ""


CASES = (
    Case("github", "get_me"),
    Case("github", "list_issues"),
    Case("github", "search_code", sent="secrets"),
    Case("github", "read_file", found="secrets"),
    Case("github", "fetch_page", found="injection"),
    Case("github", "push_files", force=True),
    Case("github", "push_files", force=False),
    Case("github", "push_files"),
    Case("github", "create_issue"),
    Case("github", "file:///notes", "resources/read"),
    Case("github", "hello", "prompts/get"),
    Case("deepwiki", "ask_question"),
    Case("deepwiki", "push_note", force=True),
    Case("context7", "resolve"),
    Case("microsoft-learn", "get_page"),
    Case("microsoft-learn", "doc", "resources/read"),
    Case(None, "get_me"),
    Case(host="docs.python.org", method="GET"),
    Case(host="docs.python.org", method="POST"),
    Case(host="nodejs.org", method="HEAD"),
    Case(host="pip.readthedocs.io", method="GET"),
    Case(host="readthedocs.io", method="GET"),
    Case(host="developer.mozilla.org", method="GET", sent="secrets"),
    Case(host="evil.example", method="GET"),
)


def starter() -> Policy:
    """Return the starter policy as data."""
    return deepcopy(_starter())


@cache
def _starter() -> Policy:
    text = (files("mitmgate_rules") / "policies" / "starter.yaml").read_text()
    loaded: Policy = yaml.safe_load(text)
    return loaded


def expected(before: Policy, after: Policy) -> int:
    """Return the exit code of a replay: 0 the same, 1 different, 3 weaker."""
    codes = {_changed(before, after, case) for case in CASES}
    return max(codes)


def _changed(before: Policy, after: Policy, case: Case) -> int:
    if before.get("mode") != after.get("mode"):
        return 3 if after["mode"] == "shadow" else 1
    old, new = _outcomes(before, case), _outcomes(after, case)
    if len(new) < len(old):  # its answer never comes
        return _step(old[0], new[0])
    return max(_step(one, other) for one, other in zip(old, new, strict=False))


def _step(old: Decided, new: Decided) -> int:
    if old == new:
        return 0
    down = STRICTNESS.index(new[0]) < STRICTNESS.index(old[0])
    lost = old[2] and not new[2] and new[0] != "deny" and old[0] != "deny"
    return 3 if down or lost else 1


def _outcomes(policy: Policy, case: Case) -> list[Decided]:
    asked = _scanned(policy, case.sent, "egress_request" if case.host else "arguments",
                     *_ruled(policy, case))  # fmt: skip
    if not case.found or asked[0] == "deny":
        return [asked]
    return [asked, _scanned(policy, case.found, "results", "allow", "answer")]


def _scanned(policy: Policy, found: str, surface: str, verdict: str, rule: str) -> Decided:
    effect = policy["scan"][found][surface] if found else "log"
    if effect in STRICTNESS and STRICTNESS.index(effect) > STRICTNESS.index(verdict):
        return effect, f"scan.{found}", False
    return verdict, rule, effect == "redact"


def _ruled(policy: Policy, case: Case) -> tuple[str, str]:
    part = policy["egress" if case.host else "mcp"]
    fits = _fits_host if case.host else _fits_call
    if not case.host and case.server is None:
        asked = part["unknown_servers"]
        return (part["otherwise"], "otherwise") if asked == "allow" else (asked, "unknown_servers")
    for rule in part["rules"]:
        if fits(rule, case):
            return rule["then"], rule["id"]
    return part["otherwise"], "otherwise"


def _fits_host(rule: dict[str, Any], case: Case) -> bool:
    hosts = _listed(rule["host"])
    named = any(
        case.host.endswith(host[1:]) if host.startswith("*.") else case.host == host
        for host in hosts
    )
    return named and case.method in rule.get("methods", [case.method])


def _fits_call(rule: dict[str, Any], case: Case) -> bool:
    if "server" in rule and case.server not in _listed(rule["server"]):
        return False
    methods = _listed(rule.get("method", "tools/call" if "tool" in rule else "*"))
    if not any(fnmatchcase(case.method, method) for method in methods):
        return False
    if "tool" in rule and not any(fnmatchcase(case.tool, one) for one in _listed(rule["tool"])):
        return False
    return all(
        pointer == "/arguments/force" and case.force is not None and case.force == test["equals"]
        for pointer, test in rule.get("where", {}).items()
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def mutations() -> Iterator[tuple[str, Policy]]:
    """Yield each edit that changes something in words, and the policy with it."""
    for words, change in _edits():
        policy = starter()
        change(policy)
        if policy != starter():
            yield words, policy


def _edits() -> Iterator[Edit]:
    base = starter()
    for part in ("mcp", "egress"):
        rules = base[part]["rules"]
        for number, rule in enumerate(rules):
            yield from _edits_of(part, number, rule)
        for one, other in combinations(range(len(rules)), 2):
            yield (
                f"swap {rules[one]['id']} and {rules[other]['id']}",
                partial(_swap, part, one, other),
            )
        yield from _set((part, "otherwise"), STRICTNESS)
        unused = {"id": "unused", "then": "deny"}
        unused |= {"host": "no.example"} if part == "egress" else {"tool": "no_such_tool"}
        for place in (0, len(rules)):
            yield (
                f"a rule of {part} that nothing matches, at {place}",
                partial(_insert, part, place, unused),
            )
    yield from _set(("mcp", "unknown_servers"), STRICTNESS)
    yield from _set(("mode",), ["enforce", "shadow"])
    yield from _set(("scan", "secrets", "arguments"), ["log", "ask", "redact"])
    yield from _set(("scan", "secrets", "results"), ["log", "ask", "deny"])
    yield from _set(("scan", "secrets", "egress_request"), ["log", "ask"])
    yield from _set(("scan", "secrets", "model_request"), ["log", "ask", "deny"])
    yield from _set(("scan", "injection", "results"), ["log", "deny"])
    yield from _set(("hold", "wait"), ["10s"])
    yield from _set(("hold", "unattended"), ["wait"])
    yield from _set(("servers", "unused"), [{"url": "https://no.example/mcp"}])


def _edits_of(part: str, number: int, rule: dict[str, Any]) -> Iterator[Edit]:
    name, path = rule["id"], (part, "rules", number)
    yield f"delete {name}", lambda p: p[part]["rules"].pop(number)
    yield from _set((*path, "then"), STRICTNESS)
    yield from _set((*path, "id"), ["renamed"])
    yield from _set((*path, "reason"), ["Another reason."])
    for key in ("tool", "server", "method", "methods", "host"):
        if isinstance(rule.get(key), list):
            less = [rule[key][:at] + rule[key][at + 1 :] for at in range(len(rule[key]))]
            yield from _set((*path, key), less)
    if "tool" in rule:
        yield from _set((*path, "tool"), ["*"])
    if "methods" in rule:
        yield from _set((*path, "methods"), [[*rule["methods"], "POST"]])
        yield f"drop methods of {name}", lambda p: p[part]["rules"][number].pop("methods")
    if "host" in rule:
        wider = [[*rule["host"], "evil.example"], [*rule["host"], "no.example"]]
        yield from _set((*path, "host"), wider)
    if "server" in rule:
        yield f"drop server of {name}", lambda p: p[part]["rules"][number].pop("server")
    if "where" in rule:
        yield f"drop where of {name}", lambda p: p[part]["rules"][number].pop("where")
        yield from _set((*path, "where"), [{"/arguments/force": {"equals": False}}])


def _set(path: tuple[Any, ...], values: list[Any]) -> Iterator[Edit]:
    for value in values:

        def change(policy: Policy, value: Any = value) -> None:
            node: Any = policy
            for step in path[:-1]:
                node = node[step]
            node[path[-1]] = value

        yield f"{'.'.join(map(str, path))} is {value}", change


def _swap(part: str, one: int, other: int, policy: Policy) -> None:
    rules = policy[part]["rules"]
    rules[one], rules[other] = rules[other], rules[one]


def _insert(part: str, place: int, rule: dict[str, Any], policy: Policy) -> None:
    policy[part]["rules"].insert(place, rule)
