"""Conclude on the results of requests: what they teach, hide, ask of the client, and hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mitmgate.judge.context import Context
from mitmgate.judge.effects import ALLOWED, Concluded, Weighed, defined_by, weigh
from mitmgate.judge.opaque import learn_state
from mitmgate.judge.outcome import Subject
from mitmgate.policy.decide import decide, decide_result, hidden_names, strictest
from mitmgate.policy.hidden import LISTED
from mitmgate.policy.rules import HINT_DEFAULTS
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Change, Cut, Swap
from mitmgate.wire.jsonrpc import Failure, Result
from mitmgate.wire.mirror import param_headers
from mitmgate.wire.sessions import Open
from mitmgate.wire.surfaces import input_requests

_PROOF = frozenset(
    {"initialize", "server/discover", "tools/list", "prompts/list", "resources/list"}
)
_LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
# Clients check these against a digest, so an edit would break what it should save.
_DIGESTED = frozenset({"skills/get", "resources/directory/read"})
_MOST_TOOLS = 1000
# Without one of these members nothing is asked (`input_requests`).
_ASKING = frozenset({"inputRequests", "elicitations", "task", "result", "error", "data"})


def judge_result(
    context: Context,
    opened: Open,
    message: Result,
    subject: Subject,
    findings: tuple[Finding, ...],
) -> Concluded:
    """Decide on the result of the request *opened*."""
    if isinstance(message.result, Mapping):
        _learn(context, opened, message.result)
        learn_state(context, message.result)
    edits = _hidden(context, opened.method, message.result)
    gone = tuple(f"{edit.pointer}/" for edit in edits if isinstance(edit, Cut))
    if gone:
        findings = tuple(f for f in findings if not f"{f.pointer}/".startswith(gone))
    asked = asks_inside(context, message.result)
    call = context.answered(opened.method, opened.target)
    ruled = decide_result(context.policy, call, message.result)
    decision = asked if ruled is None else strictest(ruled, asked)
    weighed = weigh(context.policy, decision, findings, subject, below="/result")
    _learn_names(context, opened, message.result, weighed, findings)
    if weighed.edits and _is_digested(opened):
        weighed = Weighed(_not_editable(weighed.decision))
    if edits:
        weighed = replace(weighed, edits=(*edits, *weighed.edits))
    return Concluded(subject, weighed, findings)


def judge_failure(
    context: Context, message: Failure, subject: Subject, findings: tuple[Finding, ...]
) -> Concluded:
    """Decide on an error; one of -32042 asks the client to open URLs (2025-11-25)."""
    decision = asks_inside(context, message.error)
    return Concluded(subject, weigh(context.policy, decision, findings, subject), findings)


def _learn(context: Context, opened: Open, result: Mapping[str, Any]) -> None:
    exchange, memory, method = context.exchange, context.memory, opened.method
    if exchange.endpoint is None or method not in _PROOF:
        return
    memory.endpoints.learn(exchange.endpoint, protocol_version=exchange.subject.protocol_version)
    if method in ("initialize", "server/discover"):
        memory.inventory.introduced(exchange.endpoint, result)
    if method != "tools/list":
        return
    memory.inventory.listed(exchange.endpoint, result, first=not opened.later)
    tools = result.get("tools")
    items = tools[:_MOST_TOOLS] if isinstance(tools, list) else []
    for tool in items:
        name = tool.get("name") if isinstance(tool, Mapping) else None
        if isinstance(name, str):
            memory.learn_params(exchange, name, param_headers(tool))
            memory.learn_annotations(exchange, name, _annotations(tool))


def _learn_names(
    context: Context, opened: Open, result: Any, weighed: Weighed, findings: tuple[Finding, ...]
) -> None:
    """Remember what was cut out of a list for a finding: calls of it are for nothing known.

    And what was not: another server's tool of nearly the same name is no accident.
    """
    method = opened.method
    if method not in _LISTS or not isinstance(result, Mapping):
        return
    member, key = _LISTS[method]
    cuts = {edit.pointer for edit in weighed.edits if isinstance(edit, Cut)}
    rules = {defined_by(finding.pointer): finding.rule for finding in findings} if cuts else {}
    names: dict[str, str | None] = {}
    items = result.get(member)
    for number, item in enumerate(items if isinstance(items, list) else ()):
        name = item.get(key) if isinstance(item, Mapping) else None
        if isinstance(name, str):
            place = f"/result/{member}/{number}"
            # Two of one name: whichever the client takes, it may be the poisoned one.
            names[name] = names.get(name) or (rules.get(place) if place in cuts else None)
    context.memory.learn_poisoned(context.exchange, LISTED[method], names)
    if method == "tools/list":
        shown = (name for name, rule in names.items() if rule is None)
        context.memory.learn_listed(context.exchange, shown, later=opened.later)


def _annotations(tool: Mapping[str, Any]) -> Mapping[str, bool]:
    given = tool.get("annotations")
    known = given.items() if isinstance(given, Mapping) else ()
    return {
        hint: value for hint, value in known if hint in HINT_DEFAULTS and value in (True, False)
    }


def _hidden(context: Context, method: str, result: Any) -> tuple[Change, ...]:
    """Return the cuts that keep hidden targets out of a list, in the order they stand in."""
    if method not in _LISTS or not isinstance(result, Mapping):
        return ()
    hides = hidden_names(context.policy, context.call(method))
    if hides is None:
        return ()
    member, key = _LISTS[method]
    items = result.get(member)
    cuts: list[Change] = [
        Cut(f"/result/{member}/{number}")
        for number, item in enumerate(items if isinstance(items, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get(key), str) and hides(item[key])
    ]
    if result.get("cacheScope") == "public":
        # Filtered for this agent: a shared cache must not give it to others, nor theirs to it.
        cuts.append(Swap("/result/cacheScope", '"private"'))
    return tuple(cuts)


def asks_inside(context: Context, value: Any) -> Decision:
    """Return the strictest decision on what a server asks of the client inside *value*.

    That is a result, an error, or the params of a notification.
    """
    if not isinstance(value, Mapping) or _ASKING.isdisjoint(value):
        return ALLOWED
    found = ALLOWED
    for _, method, params in input_requests(value):
        decision = decide(context.policy, context.call(method, params))
        if decision.verdict > found.verdict:
            reason = f"it asks the client for {method[:100]}: {decision.reason}"
            # What it redacts stands somewhere else, and its word on findings is for itself.
            found = replace(decision, reason=reason, redact=(), effects={})
    return found


def _is_digested(opened: Open) -> bool:
    skill = opened.method == "resources/read" and (opened.target or "").startswith("skill://")
    return skill or opened.method in _DIGESTED


def _not_editable(decision: Decision) -> Decision:
    if decision.verdict is Verdict.DENY:
        return decision
    return Decision(
        Verdict.DENY,
        "scan.secrets",
        "finding",
        "a credential stands in a file that clients check against its digest",
        "The file holds what looks like a credential, and cannot be given without it.",
    )
