"""Rules ready to be tried: what each is for, and an index that finds the few to try."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.conditions import Condition
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.verdict import Verdict
from mitmgate.policy.window import Window

type CircumstanceMiss = Literal["agent", "group", "time"]
type TargetMiss = Literal["server", "method", "tool"]
type Phase = Literal["call", "result"]

# Source: MCP 2025-06-18 schema, ToolAnnotations.
HINT_DEFAULTS: Mapping[str, bool] = {
    "readOnlyHint": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "openWorldHint": True,
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who and when; None stands for a condition that was not given."""

    agents: GlobSet | None = None
    groups: frozenset[str] | None = None
    window: Window | None = None

    def miss(self, call: Call | EgressCall) -> CircumstanceMiss | None:
        """Return the first of them that *call* does not meet, or None."""
        if self is ALWAYS:
            return None
        if self.agents is not None and not self.agents.matches(call.agent):
            return "agent"
        if self.groups is not None and self.groups.isdisjoint(call.groups):
            return "group"
        if self.window is not None and not self.window.covers(call.now):
            return "time"
        return None


ALWAYS = Circumstances()


@dataclass(frozen=True, slots=True)
class Effects:
    """What a rule does: its verdict, and what comes with it.

    ``wait`` is how many seconds a call that it asks about waits, None: as long as others.
    """

    verdict: Verdict
    reason: str | None = None
    note: str | None = None
    severity: str | None = None
    shadow: bool = False
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class McpRule:
    """A rule for MCP messages; None stands for a condition that was not given.

    ``layer`` is the file that it stands in, ``""`` for the policy itself; ``anywhere`` says that it
    is for servers without a name too. ``redact`` are JSON
    pointers, ``overrides`` the effects of findings by detector.
    """

    id: str
    servers: frozenset[str] | None
    tools: GlobSet | None
    methods: GlobSet | None
    where: tuple[Condition, ...]
    effects: Effects
    circumstances: Circumstances = ALWAYS
    annotations: Mapping[str, bool] | None = None
    revisions: frozenset[str] | None = None
    transports: frozenset[str] | None = None
    phase: Phase = "call"
    hide: bool = False
    redact: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    layer: str = ""
    anywhere: bool = False

    @property
    def verdict(self) -> Verdict:
        """What it decides."""
        return self.effects.verdict

    @property
    def is_plain(self) -> bool:
        """Whether it looks at nothing but the target, the revision and the transport."""
        looks = self.where or self.annotations is not None or self.redact
        return not looks and self.circumstances == ALWAYS

    def is_for_server(self, server: str | None) -> bool:
        """Say whether the rule is for *server*; an unknown one, None, has locked rules only."""
        if server is None:
            return self.anywhere
        return self.servers is None or server in self.servers

    def is_for_method(self, method: str, *, housekeeping: bool) -> bool:
        """Say whether the rule is for *method*; *housekeeping* says of which kind that is."""
        if self.methods is not None:
            return self.methods.matches(method)
        if self.tools is not None:
            return method == "tools/call"
        return not housekeeping

    def target_miss(self, call: Call) -> TargetMiss | None:
        """Return which part of the target of *call* the rule is not for, or None."""
        if not self.is_for_server(call.server):
            return "server"
        if not self.is_for_method(call.method, housekeeping=call.housekeeping):
            return "method"
        if self.tools is not None and (call.tool is None or not self.tools.matches(call.tool)):
            return "tool"
        return None

    def meets_annotations(self, annotations: Mapping[str, bool] | None) -> bool:
        """Say whether a tool with *annotations* is meant; None: nothing is known of it."""
        if self.annotations is None:
            return True
        if annotations is None:  # an allow must be sure, everything else may be careful
            return self.verdict is not Verdict.ALLOW
        return all(
            annotations.get(hint, HINT_DEFAULTS[hint]) is wanted
            for hint, wanted in self.annotations.items()
        )


class _Tools:
    """The rules of one server, by the names of the tools that they are for."""

    def __init__(self) -> None:
        self.general: list[int] = []
        self.exact: defaultdict[str, list[int]] = defaultdict(list)
        self.methods: defaultdict[str, list[int]] = defaultdict(list)
        self.prefixes: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def add(self, number: int, rule: McpRule) -> None:
        if rule.tools is None:
            self._add_methods(number, rule.methods)
            return
        for name in rule.tools.exact:
            self.exact[name].append(number)
        for glob in rule.tools.globs:
            prefix = glob.pieces[0].partition("?")[0]
            if prefix:
                self.prefixes[len(prefix)][prefix].append(number)
            else:
                self.general.append(number)

    def _add_methods(self, number: int, methods: GlobSet | None) -> None:
        if methods is None or methods.globs:
            self.general.append(number)
            return
        for method in methods.exact:
            self.methods[method].append(number)

    def of(self, method: str, tool: str | None) -> Iterator[list[int]]:
        yield self.general
        yield self.methods.get(method, [])
        if tool is not None:
            yield self.exact.get(tool, [])
            for length, prefixes in self.prefixes.items():
                yield prefixes.get(tool[:length], [])


_MOST_TARGETS = 4096


class RuleSet:
    """Rules in the order in which they are tried, of one phase."""

    def __init__(self, rules: Iterable[McpRule], phase: Phase = "call") -> None:
        self.rules = tuple(rule for rule in rules if rule.phase == phase)
        self.hiding = tuple(rule for rule in self.rules if rule.hide)
        self._targets: dict[tuple[object, ...], tuple[McpRule, ...]] = {}
        self._by_server: defaultdict[str | None, _Tools] = defaultdict(_Tools)
        for number, rule in enumerate(self.rules):
            for server in rule.servers or (None,):
                self._by_server[server].add(number, rule)

    def is_plain(self, call: Call) -> bool:
        """Say whether none of the rules that may be for *call* looks at more than its target."""
        return all(rule.is_plain for rule in self.candidates(call))

    def candidates(self, call: Call) -> tuple[McpRule, ...]:
        """Return the rules that are for the target of *call*, in their order; no other is."""
        key = (call.server, call.method, call.tool, call.housekeeping)
        known = self._targets.get(key)
        if known is None:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            known = self._targets[key] = tuple(
                rule for rule in self._near(call) if rule.target_miss(call) is None
            )
        return known

    def _near(self, call: Call) -> Iterator[McpRule]:
        found: set[int] = set()
        for server in (call.server, None) if call.server is not None else (None,):
            tools = self._by_server.get(server)
            if tools is not None:
                for numbers in tools.of(call.method, call.tool):
                    found.update(numbers)
        for number in sorted(found):
            yield self.rules[number]
