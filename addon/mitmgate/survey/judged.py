"""What the scanner says about all that a server said, without any of the text."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.scan.definitions import DefinitionFinding, examine
from mitmgate.scan.engine import DERIVED_MARK, KEY_MARK, Scanner
from mitmgate.scan.finding import Detector, Finding, Severity
from mitmgate.survey.look import Survey
from mitmgate.survey.session import LISTS, Answer, items_of
from mitmgate.wire.surfaces import walk_error, walk_result

DETECTORS: Collection[Detector] = ("secrets", "injection", "poisoning", "canary")
"""What counts here. That a server names a person to write to harms nobody."""

TITLES: Mapping[str, str] = {
    "limits.work": "Takes more work to read than its size is worth",
    "poisoning.context-parameter": "Parameter that asks for what the model was told",
    "poisoning.control-character": "Control characters, which a terminal obeys",
    "poisoning.cross-tool": "Speaks about another tool to change how it is used",
    "poisoning.huge-description": "Description that nobody reads to its end",
    "poisoning.invisible-text": "Characters that a model reads and a person does not see",
    "poisoning.look-alike": "Name that looks like that of another tool",
    "poisoning.odd-name": "Name with characters that MCP does not allow in names",
    "poisoning.scrolled-away": "Text far behind a gap, where nobody scrolls",
}
"""What the checks find that are no rules of a pack."""

_KINDS = {
    "initialize": "server",
    "server/discover": "server",
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "template",
    "prompts/get": "prompt content",
    "resources/read": "resource content",
}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.$:~#")
_LONGEST_TOKEN = 64
_LONGEST_NAME = 80
_HIDDEN = "?"
_NAMES = ("name", "uri", "uriTemplate")
_FINGERPRINT = 16


@dataclass(frozen=True, slots=True)
class Spot:
    """One finding, in words that can be shown to anybody.

    ``kind`` and ``name`` say of what: a tool, a prompt, ...; its name is its number in the list
    where the name itself is what was found. ``pointer`` leads into the result of ``method``,
    ``page`` by page; keys that are no plain words stand there as ``?``. ``start`` and ``end`` are
    offsets in code points of the string there, and ``view`` how it had to be read. ``print`` is
    the same for the same finding at the same server.
    """

    kind: str
    name: str
    rule: str
    title: str
    detector: Detector
    severity: Severity
    method: str
    page: int
    pointer: str
    start: int
    end: int
    view: str
    print: str


def judge(survey: Survey, scanner: Scanner) -> tuple[Spot, ...]:
    """Return what *scanner* and the checks of lists find in *survey*, in document order.

    RuntimeError where the search itself gave up: then nobody can say anything.
    """
    hits = {number: list(_scanned(one, scanner)) for number, one in enumerate(survey.answers)}
    for number, hit in _structural(survey.answers):
        hits[number].append(hit)
    speaker = _Speaker(survey, hits)
    spots = [
        speaker.spot(number, hit)
        for number, found in hits.items()
        for hit in sorted(found, key=lambda hit: _place_in_list(hit.pointer)[1])
    ]
    return tuple(dict.fromkeys(spots))


@dataclass(frozen=True, slots=True)
class _Hit:
    """A finding of either sort. *pointer* starts below the answer's result, *key* as there."""

    rule: str
    title: str
    detector: Detector
    severity: Severity
    pointer: str
    key: bool
    span: tuple[int, int]
    view: str = ""
    value_hash: str = ""


def _scanned(answer: Answer, scanner: Scanner) -> Iterator[_Hit]:
    walk = walk_error(answer.result) if answer.failed else walk_result(answer.method, answer.result)
    rules = scanner.rules
    for found in scanner.scan(walk, detectors=DETECTORS):
        rule = rules.get(found.rule)
        title = found.note or (rule.title if rule is not None else TITLES.get(found.rule, ""))
        yield _of_finding(found, title)


def _of_finding(found: Finding, title: str) -> _Hit:
    key = found.pointer.endswith(KEY_MARK)
    derived = found.pointer.endswith(DERIVED_MARK)
    pointer = found.pointer.removesuffix(KEY_MARK if key else DERIVED_MARK if derived else "")
    view = "/".join(word for word in ("base64" if derived else "", found.view) if word)
    return _Hit(
        found.rule, title, found.detector, found.severity, _below(pointer), key,
        (found.start, found.end), view, found.value_hash,
    )  # fmt: skip


def _below(pointer: str) -> str:
    """Return *pointer* without the member of the message that it starts with."""
    _, mark, rest = pointer[1:].partition("/")
    return mark + rest


def _structural(answers: Iterable[Answer]) -> Iterator[tuple[int, _Hit]]:
    """Yield what the checks of whole lists find, each with the number of its answer.

    A list that came in pages is one list: its last tool may speak about its first.
    """
    whole: dict[str, list[tuple[int, int, Any]]] = {}
    for number, answer in enumerate(answers):
        if answer.failed:
            continue
        if answer.method in LISTS:
            items = enumerate(items_of(answer.method, answer.result))
            whole.setdefault(LISTS[answer.method], []).extend(
                (number, at, one) for at, one in items
            )
        elif answer.target is None:
            yield from ((number, _of_check(found)) for found in examine(answer.result))
    for member, places in whole.items():
        for found in examine({member: [item for _, _, item in places]}):
            _, _, at, *rest = found.pointer.split("/", 3)
            number, index, _ = places[int(at)]
            pointer = "/".join(["", member, str(index), *rest])
            yield number, _of_check(found, pointer)


def _of_check(found: DefinitionFinding, pointer: str | None = None) -> _Hit:
    place = found.pointer if pointer is None else pointer
    title = TITLES.get(found.rule, "Is not as a definition should be")
    span = found.start, found.end
    return _Hit(found.rule, title, "poisoning", found.severity, place, found.key, span)


class _Speaker:
    """Puts hits into words that hold nothing of what was found."""

    def __init__(self, survey: Survey, hits: Mapping[int, list[_Hit]]) -> None:
        self._survey = survey
        # A key, or a name, may itself be what was found, and may stand in pointers below it.
        self._hidden = {
            (number, hit.pointer) for number, found in hits.items() for hit in found if hit.key
        }
        self._unnamed = {
            name
            for number, found in hits.items()
            for hit in found
            if hit.pointer.rpartition("/")[2] in _NAMES
            if (name := self._raw_name(number, hit.pointer)) is not None
        }

    def spot(self, number: int, hit: _Hit) -> Spot:
        """Return *hit* in answer *number* as it may be shown."""
        answer = self._survey.answers[number]
        kind, name = self._whose(number, hit.pointer)
        told = (hit.rule, answer.method, name, hit.value_hash or hit.pointer)
        return Spot(
            kind, name, hit.rule, hit.title, hit.detector, hit.severity, answer.method,
            answer.page, self._shown(number, hit.pointer), *hit.span, hit.view,
            hashlib.sha256("\0".join(told).encode()).hexdigest()[:_FINGERPRINT],
        )  # fmt: skip

    def _whose(self, number: int, pointer: str) -> tuple[str, str]:
        answer = self._survey.answers[number]
        kind = "error" if answer.failed else _KINDS[answer.method]
        if answer.target is not None:
            return kind, self._named(answer.target, "")
        if pointer.startswith("/instructions"):
            return "instructions", ""
        index = _place_in_list(pointer)[1]
        if kind in {"server", "error"} or index < 0:
            return (kind, "") if kind in {"server", "error"} else ("answer", answer.method)
        return kind, self._named(self._raw_name(number, pointer), f"#{index + 1}")

    def _named(self, name: str | None, number: str) -> str:
        if name is None or name in self._unnamed:
            return number
        return masked(name, self._survey.private)

    def _raw_name(self, number: int, pointer: str) -> str | None:
        answer = self._survey.answers[number]
        member, index = _place_in_list(pointer)
        items = items_of(answer.method, answer.result)
        if member != LISTS.get(answer.method) or not 0 <= index < len(items):
            return None
        item = items[index]
        names = (item.get(key) for key in _NAMES) if isinstance(item, Mapping) else ()
        return next((name for name in names if isinstance(name, str) and name), None)

    def _shown(self, number: int, pointer: str) -> str:
        place, shown = "", ""
        for token in pointer.split("/")[1:]:
            place += f"/{token}"
            plain = len(token) <= _LONGEST_TOKEN and _PLAIN.issuperset(token)
            known = plain and (number, place) not in self._hidden
            private = any(text in token for text in self._survey.private)
            shown += f"/{token if known and not private else _HIDDEN}"
        return shown


def masked(name: str, private: Iterable[str]) -> str:
    """Return *name*, which a server chose, cut short and without what no report may show."""
    for text in private:
        name = name.replace(text, "[private]")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _place_in_list(pointer: str) -> tuple[str, int]:
    """Return the member and the index that *pointer* starts with; -1 where there is none."""
    parts = pointer.split("/", 3)
    if len(parts) > 2 and parts[2].isdecimal() and parts[2].isascii():
        return parts[1], int(parts[2][:9])
    return "", -1
