"""The report of a look, for people and as JSON. It holds names and places, never what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from mitmgate.record.lines import printable
from mitmgate.scan.finding import Severity
from mitmgate.survey.judged import Spot, masked
from mitmgate.survey.look import Survey
from mitmgate.survey.session import LISTS, items_of

SEVERITIES: Sequence[Severity] = ("low", "medium", "high", "critical")
VERSION = 1
"""Of the JSON report: it changes where a reader of the old one would misread the new one."""

_INFO = "serverInfo"
_GREETINGS = ("initialize", "server/discover")
_WORDS = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "template",
    "prompts/get": "prompt read",
    "resources/read": "resource read",
}


def text_report(survey: Survey, spots: Sequence[Spot]) -> Iterator[str]:
    """Yield the lines that tell a person of *survey* and the *spots* in it."""
    says = reported_name(survey, spots) or "no name"
    yield printable(f"{survey.place}: says it is {says}; MCP of {survey.version}")
    yield _offers(survey)
    for (kind, name, page), group in groupby(spots, key=lambda one: (one.kind, one.name, one.page)):
        yield ""
        where = f" (page {page})" if page > 1 else ""
        yield printable(f"{kind} {name}".rstrip() + where)
        for spot in group:
            yield f"  {spot.severity:8}  {spot.title}  [{spot.rule}]"
            view = f", read as {spot.view}" if spot.view else ""
            span = f"characters {spot.start} to {spot.end}" if spot.end else "all of it"
            yield printable(f"            {spot.pointer or 'the text'}, {span}{view}")
    yield ""
    yield verdict(spots)
    for gap in survey.gaps:
        yield printable(f"not seen: {gap}")


def verdict(spots: Sequence[Spot]) -> str:
    """Return one sentence: how much was found, the worst first."""
    if not spots:
        return "Nothing was found."
    counts = Counter(spot.severity for spot in spots)
    parts = [f"{counts[word]} {word}" for word in reversed(SEVERITIES) if counts[word]]
    return f"{_number(len(spots), 'finding')}: {', '.join(parts)}."


def json_report(survey: Survey, spots: Sequence[Spot]) -> str:
    """Return one JSON document for programs."""
    value: dict[str, Any] = {
        "version": VERSION,
        "server": survey.place,
        "name": reported_name(survey, spots),
        "protocol": survey.version,
        "offers": dict(offered(survey)),
        "complete": not survey.gaps,
        "gaps": survey.gaps,
        "findings": [asdict(spot) for spot in spots],
    }
    return json.dumps(value, indent=2)


def reported_name(survey: Survey, spots: Sequence[Spot]) -> str | None:
    """Return name and version that the server says it has, None where something is in them."""
    first = survey.answers[0].result
    found = any(spot.method in _GREETINGS and _INFO in spot.pointer for spot in spots)
    if found or not isinstance(first, Mapping):
        return None
    meta = first.get("_meta")
    info = first.get(_INFO)
    if info is None and isinstance(meta, Mapping):
        info = meta.get(f"io.modelcontextprotocol/{_INFO}")
    words = [info.get("name"), info.get("version")] if isinstance(info, Mapping) else []
    told = " ".join(word for word in words if isinstance(word, str))
    return masked(told, survey.private) or None


def offered(survey: Survey) -> Mapping[str, int]:
    """Return how many there are of all that was listed or read, by method."""
    counts: Counter[str] = Counter()
    for answer in survey.answers:
        if answer.method in LISTS and not answer.failed:
            counts[answer.method] += len(items_of(answer.method, answer.result))
        elif answer.method in _WORDS and not answer.failed:
            counts[answer.method] += 1
    return counts


def _offers(survey: Survey) -> str:
    counts = offered(survey)
    parts = [
        _number(counts[method], word)
        for method, word in _WORDS.items()
        if method in LISTS or counts[method]
    ]
    first = survey.answers[0].result
    if isinstance(first, Mapping) and first.get("instructions"):
        parts.append("instructions")
    return ", ".join(parts)


def _number(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    first, _, rest = word.partition(" ")
    return f"{count} {first}s {rest}".rstrip()
