"""Samples of rules: calls that a rule must match, and calls that it must not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mitmgate.errors import Problem
from mitmgate.policy.call import Call
from mitmgate.policy.compiling import mcp_rule
from mitmgate.policy.decide import mcp_miss
from mitmgate.policy.keys import KeyFolds
from mitmgate.policy.models import McpRuleEntry, PolicyFile, RulesFile, SampleEntry
from mitmgate.policy.rules import McpRule
from mitmgate.policy.trace import why_missed
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


def _told(rule: McpRule, entry: McpRuleEntry, sample: SampleEntry, *, wanted: bool) -> str | None:
    call = sample_call(entry, sample)
    looked_at = sample.result if rule.phase == "result" else call.params
    miss = mcp_miss(rule, call, looked_at, KeyFolds())
    if wanted and miss == "ambiguous":
        return "the sample has a key that servers may read as another one"
    if wanted and miss is not None:
        return f"the sample should match: {why_missed(rule, call, looked_at, miss)}"
    if not wanted and miss is None:
        return "the sample should not match, and it does"
    return None


def sample_call(entry: McpRuleEntry, sample: SampleEntry) -> Call:
    """Return the call that *sample* of the rule *entry* stands for."""
    params: Mapping[str, Any] = sample.params if sample.params is not None else {
        "name": sample.tool, "arguments": sample.arguments or {}
    }  # fmt: skip
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


def _bools(hints: Mapping[Any, bool] | None) -> dict[str, bool] | None:
    return None if hints is None else {str(hint): value for hint, value in hints.items()}
