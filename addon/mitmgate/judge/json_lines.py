"""Lines of JSON (NDJSON, JSON Lines): each is judged together with the text before it.

Source: https://github.com/ndjson/ndjson-spec, https://jsonlines.org. The server alone says that it
sends lines, so only what is an object or an array goes on as one, and what is cut by the end of a
line is put together again: by place (``/response`` of each line), and in the order it came.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from mitmgate.errors import WireError
from mitmgate.judge.fragments import Tails
from mitmgate.judge.inputs import EventInput
from mitmgate.judge.prepare import Lookup, Others, PreparedAnswer, prepare_event
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, Text, walk_json

MEDIA_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
     "application/x-jsonl", "application/jsonlines"}
)  # fmt: skip
NOT_LINES = "not_json_lines"

_ALL, _VALUES = "#all", "#values"
_MOST_TEXT = 4096  # characters of each place, before a line and of it
_MOST_PLACES = 16
# Between strings, and at the end of a line: sentences cut between words, within one, cut tokens.
_JOINTS = (("\n", "\n"), ("", ""), ("\n", ""))
_MOST_FOUND = 100


def prepare_line(
    event: EventInput, lookup: Lookup | None, scanner: Scanner, others: Others, before: Tails
) -> PreparedAnswer:
    """Read and scan one event; one that is a line of JSON also as it follows *before*.

    A line that is no object and no array is a problem of the body, ``not_json_lines``.
    """
    prepared = prepare_event(event, lookup, scanner, others)
    if lookup is not None or event.head.media_type not in MEDIA_TYPES:
        return prepared
    if not _is_json(event.data):
        problem = WireError(NOT_LINES, "a line is neither an object nor an array of JSON")
        body = prepared.body._replace(problem=problem)
        return replace(prepared, body=body)
    places = _places(_texts(event.data))
    known = {found.rule for found in prepared.findings}
    across = dict.fromkeys(_across(before, places, scanner, known))
    found = (*prepared.findings, *islice(across, _MOST_FOUND))
    return replace(prepared, findings=found, tails=_grown(before, places))


def _is_json(text: str) -> bool:
    if not text.lstrip(" \t").startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _texts(text: str) -> list[Text]:
    try:
        return walk_json(Surface.EGRESS_RESPONSE, parse_json(text))
    except WireError:  # a member that stands there twice, for example
        return [Text(Surface.EGRESS_RESPONSE, "", text)]


def _places(texts: Sequence[Text]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for item in texts:
        if not item.text:
            continue
        places.setdefault(_ALL, []).append(item.text)
        if not item.key:
            places.setdefault(_VALUES, []).append(item.text)
            places.setdefault(item.pointer, []).append(item.text)
    return places


def _across(
    before: Tails,
    places: Mapping[str, list[str]],
    scanner: Scanner,
    known: Collection[str],
) -> Iterator[Finding]:
    """Yield what is in this line because of *before*; *known* are rules that are in it anyway."""
    detectors, rules = scanner.detectors - {"pii"}, scanner.rules
    for place, first in before.items():
        second = places.get(place, ())[:_MOST_TEXT]
        for inner, joint in _JOINTS if second else ():
            start = inner.join(first)
            text = f"{start}{joint}{inner.join(second)[:_MOST_TEXT]}"
            whole = Text(Surface.EGRESS_RESPONSE, "#lines", text)
            found = scanner.scan((whole,), detectors=detectors)
            named = [f for f in found if f.rule not in rules or not rules[f.rule].generic]
            yield from _new(named, len(start), len(start) + len(joint), known)


def _new(
    found: Sequence[Finding], end: int, start: int, known: Collection[str]
) -> Iterator[Finding]:
    """Yield what of *found* is not all before *end*; the line begins at *start*."""
    begun = {one.detector for one in found if one.start < end}
    for one in found:
        across = one.start < end and one.end > start
        together = one.start >= end and one.detector in begun and one.rule not in known
        if across or together or one.detector == "limits":
            yield one


def _grown(before: Tails, places: Mapping[str, list[str]]) -> Tails:
    """Return what the next line follows: of the places the ones that were last seen."""
    kept = dict(before)
    for place, texts in places.items():
        first = kept.pop(place, ())
        kept[place] = _last((*first, *texts[-_MOST_TEXT:]))
    general = {place: kept.pop(place) for place in (_ALL, _VALUES) if place in kept}
    few = dict(islice(reversed(kept.items()), _MOST_PLACES))
    return dict(reversed(few.items())) | general


def _last(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the end of *texts*, in as many strings."""
    kept: list[str] = []
    room = _MOST_TEXT
    for text in reversed(texts):
        if room <= 0:
            break
        kept.append(text[-room:])
        room -= len(text)
    return tuple(reversed(kept))
