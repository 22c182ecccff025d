"""The control API's side of the rules: what they are, how often each decided, what may be one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.rules import RuleList, RuleView, Suggestion
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.load import Policy
from mitmgate.policy.remembered import entry_of
from mitmgate.policy.rules import ALWAYS, Circumstances, Effects, McpRule
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.replies import json_of

type _Rule = tuple[str, str, str, str, str]
"""Id, layer, section, verdict, text."""


class RulesApi:
    """The handler of ``GET /v1/rules``. It shows no arguments.

    What operators said and approved is there only with the key (*is_operator*).
    """

    def __init__(self, pipeline: Pipeline, is_operator: Callable[[Request], bool]) -> None:
        self._pipeline = pipeline
        self._is_operator = is_operator
        self._texts: tuple[str, tuple[_Rule, ...]] = ("", ())

    async def show(self, request: Request) -> Response:
        """Answer with every rule and how often it decided."""
        if self._is_operator(request):
            rules, suggestions = self._rules(), tuple(self._suggestions())
        else:
            rules, suggestions = tuple(r for r in self._rules() if r[1] != "remembered"), ()
        return json_of(RuleList(rules=tuple(map(self._view, rules)), suggestions=suggestions))

    def _rules(self) -> tuple[_Rule, ...]:
        policy = self._pipeline.judge.policy
        if self._texts[0] != policy.hash:
            self._texts = policy.hash, tuple(_rules(policy))
        return self._texts[1]

    def _view(self, rule: _Rule) -> RuleView:
        name, layer, section, verdict, text = rule
        hits, last = self._pipeline.hits.of(section.partition(".")[0], name)
        return RuleView.model_validate({
            "id": name, "layer": layer, "section": section, "verdict": verdict, "text": text,
            "hits": hits, "last_hit": last, "never": hits == 0,
        })  # fmt: skip

    def _suggestions(self) -> Iterator[Suggestion]:
        waiting = self._pipeline.holding.targets()
        for one in self._pipeline.holding.suggestions.listed(waiting):
            yield Suggestion(text=one.text, on=one.on, count=one.count, pending_like=one.like)


def _rules(policy: Policy) -> Iterator[_Rule]:
    yield from _mcp(policy.locked_calls.rules, "locked")
    yield from _mcp(policy.locked_results.rules, "locked")
    yield from _egress(policy.locked_egress, "locked")
    yield from _mcp(policy.mcp_rules, "policy")
    yield _last("mcp.rules", policy.mcp_otherwise.word)
    yield from _egress(policy.egress_rules, "policy")
    yield _last("egress.rules", policy.egress_otherwise.word)
    for rule in () if policy.remembered is None else policy.remembered.rules:
        yield rule.id, "remembered", f"{rule.channel}.rules", rule.then, _yaml(entry_of(rule))


def _last(section: str, verdict: str) -> _Rule:
    return "otherwise", "policy", section.removesuffix(".rules"), verdict, f"otherwise: {verdict}"


def _mcp(rules: Iterable[McpRule], layer: str) -> Iterator[_Rule]:
    for rule in rules:
        facts = {
            "id": rule.id,
            "server": sorted(rule.servers) if rule.servers is not None else None,
            "method": rule.methods.texts if rule.methods else None,
            "tool": rule.tools.texts if rule.tools else None,
            "phase": rule.phase if rule.phase != "call" else None,
            "where": [one.text for one in rule.where],
            "annotations": rule.annotations,
            "revision": sorted(rule.revisions or ()),
            "transport": sorted(rule.transports or ()),
            **_circumstances(rule.circumstances),
            **_effects(rule.effects),
            "hide": rule.hide or None,
            "redact": rule.redact,
            "scan": rule.overrides,
        }
        yield rule.id, rule.layer or layer, "mcp.rules", rule.verdict.word, _yaml(facts)


def _egress(rules: Iterable[EgressRule], layer: str) -> Iterator[_Rule]:
    for rule in rules:
        facts = {
            "id": rule.id,
            "host": [*sorted(rule.hosts.exact), *(f"*{one}" for one in rule.hosts.suffixes)],
            "methods": sorted(rule.methods or ()),
            "ports": sorted(rule.ports or ()),
            "paths": rule.paths,
            "protocol": sorted(rule.protocols or ()),
            **_circumstances(rule.circumstances),
            **_effects(rule.effects),
            "max_request": rule.max_request,
            "max_session": rule.max_session,
            "websocket": rule.websocket,
            "dns": rule.dns or None,
            "oauth": rule.oauth or None,
            "inspect": rule.inspect if rule.inspect != "body" else None,
        }
        yield rule.id, rule.layer or layer, "egress.rules", rule.verdict.word, _yaml(facts)


def _circumstances(given: Circumstances) -> dict[str, Any]:
    if given == ALWAYS:
        return {}
    return {
        "agent": given.agents.texts if given.agents else None,
        "group": sorted(given.groups or ()),
        "time": given.window.text if given.window else None,
    }


def _effects(effects: Effects) -> dict[str, Any]:
    return {
        "then": effects.verdict.word,
        "mode": "shadow" if effects.shadow else None,
        "reason": effects.reason,
        "severity": effects.severity,
        "note": effects.note,
    }


def _yaml(facts: dict[str, Any]) -> str:
    """Return *facts* one in a line; JSON of a value is YAML too (YAML 1.2, section 1.3)."""
    return "".join(
        f"{name}: {_value(value)}\n"
        for name, value in facts.items()
        if value is not None and value not in ((), [], {})
    )


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum():
        return value
    return json.dumps(dict(value) if hasattr(value, "items") else value, ensure_ascii=False)
