"""Samples of rules: calls and requests that a rule must match, and others that it must not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mitmgate.errors import Problem, WireError
from mitmgate.policy.call import Call, request_call
from mitmgate.policy.compiling import egress_rule, mcp_rule
from mitmgate.policy.decide import mcp_miss
from mitmgate.policy.egress import egress_miss
from mitmgate.policy.egress_models import EgressSampleEntry
from mitmgate.policy.egress_rule import WEB_PORTS, EgressRule
from mitmgate.policy.keys import KeyFolds
from mitmgate.policy.models import McpRuleEntry, PolicyFile, RulesFile, SampleEntry
from mitmgate.policy.rules import ALWAYS, McpRule
from mitmgate.policy.syntax import MISSING, member, parse_pointer
from mitmgate.policy.trace import why_missed, why_no_egress
from mitmgate.strictyaml import Document
from mitmgate.wire.methods import is_housekeeping
from mitmgate.wire.recognise import target_name

_ANY_SERVER = "any"


def sample_problems(document: Document, file: PolicyFile | RulesFile) -> Iterator[Problem]:
    """Yield each sample of *file*, which was read from *document*, that does not hold."""
    for number, entry in enumerate(file.mcp.rules):
        rule = mcp_rule(entry)
        for kind, samples in (("match", entry.samples.match), ("other", entry.samples.other)):
            for place, sample in enumerate(samples):
                told = _told(rule, entry, sample, wanted=kind == "match")
                if told is not None:
                    path = ("mcp", "rules", number, "samples", kind, place)
                    yield document.problem(path, f"rule {entry.id}: {told}",
                                           hint="correct the rule, or the sample")  # fmt: skip
    yield from _egress_problems(document, file)


def _egress_problems(document: Document, file: PolicyFile | RulesFile) -> Iterator[Problem]:
    for number, entry in enumerate(file.egress.rules):
        rule = egress_rule(entry)
        for kind, samples in (("match", entry.samples.match), ("other", entry.samples.other)):
            for place, sample in enumerate(samples):
                told = _told_of_request(rule, sample, wanted=kind == "match")
                if told is not None:
                    path = ("egress", "rules", number, "samples", kind, place)
                    yield document.problem(path, f"rule {entry.id}: {told}",
                                           hint="correct the rule, or the sample")  # fmt: skip


def _told_of_request(rule: EgressRule, sample: EgressSampleEntry, *, wanted: bool) -> str | None:
    try:
        call = request_call(sample.url, sample.method, agent="sample")
    except WireError as error:
        return str(error)
    call = replace(call, protocol=sample.protocol)
    # Who and when is no part of a sample.
    anyone = replace(rule, circumstances=ALWAYS)
    miss = egress_miss(anyone, call, usual=call.port in WEB_PORTS)
    if wanted and miss is not None:
        return f"the sample should match: {why_no_egress(rule, miss)}"
    if not wanted and miss is None:
        return "the sample should not match, and it does"
    return None


def _told(rule: McpRule, entry: McpRuleEntry, sample: SampleEntry, *, wanted: bool) -> str | None:
    try:
        call = sample_call(entry, sample)
        looked_at = call.params
        if rule.phase == "result":
            looked_at = _lengthened(sample.result, sample)
    except ValueError as error:
        return str(error)
    miss = mcp_miss(rule, call, looked_at, KeyFolds())
    if wanted and miss == "ambiguous":
        return "the sample has a key that servers may read as another one"
    if wanted and miss is not None:
        return f"the sample should match: {why_missed(rule, call, looked_at, miss)}"
    if not wanted and miss is None:
        return "the sample should not match, and it does"
    return None


def sample_call(entry: McpRuleEntry, sample: SampleEntry) -> Call:
    """Return the call that *sample* of the rule *entry* stands for.

    ValueError says that nothing stands where ``repeat`` puts its text.
    """
    params: Mapping[str, Any] = sample.params if sample.params is not None else {
        "name": sample.tool, "arguments": sample.arguments or {}
    }  # fmt: skip
    if entry.phase == "call":
        params = _lengthened(params, sample)
    named = entry.server[0] if entry.server else _ANY_SERVER
    return Call(
        agent="sample",
        server=sample.server or named,
        method=sample.method,
        tool=sample.tool or target_name(sample.method, params),
        params=params,
        housekeeping=is_housekeeping(sample.method),
        annotations=_bools(sample.annotations),
    )


def _lengthened(value: Any, sample: SampleEntry) -> Any:
    """Return *value* with what ``repeat`` of *sample* puts into it; ValueError where it cannot."""
    if sample.repeat is None:
        return value
    front = sample.repeat.text * sample.repeat.times
    try:
        return _put_before(value, parse_pointer(sample.repeat.at), front)
    except LookupError:
        raise ValueError(f"repeat finds no text at {sample.repeat.at}") from None


def _put_before(value: Any, tokens: Sequence[str], front: str) -> Any:
    """Return *value* with *front* before the text at *tokens*, or raise LookupError."""
    if not tokens:
        if not isinstance(value, str):
            raise LookupError
        return front + value
    inner = member(value, tokens[0])
    if inner is MISSING:
        raise LookupError
    changed = _put_before(inner, tokens[1:], front)
    if isinstance(value, list):
        at = int(tokens[0])
        return [*value[:at], changed, *value[at + 1 :]]
    return {**value, tokens[0]: changed}


def _bools(hints: Mapping[Any, bool] | None) -> dict[str, bool] | None:
    return None if hints is None else {str(hint): value for hint, value in hints.items()}
