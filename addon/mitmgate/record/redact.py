"""Replaces secrets in texts before they are written, so that replay can put samples back.

What a rule found becomes a numbered placeholder with an entry in an out-of-band list; what is
secret by its place only becomes an opaque number. Equal values stay equal.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol
from urllib.parse import unquote_plus

from mitmgate.errors import WireError
from mitmgate.record.sensitive import Span, form_values, is_sensitive, secret_values
from mitmgate.record.views import views
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Edit, apply_edits
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, Text, walk_json

type Sample = Callable[[str, int], str]
"""Gives the sample value that stands for rule and number."""

_SURFACE = Surface.ARGUMENTS
_REMEMBERED = 100_000
_ANSWERS = frozenset({"accept", "decline", "cancel"})


_HIDDEN = frozenset({"secrets", "canary"})


class Scans(Protocol):
    """The part of ``scan.engine.Scanner`` that redaction needs."""

    def scan(self, texts: Iterable[Text]) -> tuple[Finding, ...]:
        """Return the findings in *texts*."""
        ...

    def sample_for(self, rule_id: str, number: int) -> str:
        """Return the sample value of rule and number."""
        ...

    def placeholder(self, rule_id: str, number: int) -> str:
        """Return the text that stands for rule and number."""
        ...


@dataclass(frozen=True, slots=True)
class Redaction:
    """Where a placeholder stands in a stored text: code points of the string at ``pointer``.

    ``quoted`` says that the value was percent-encoded there.
    """

    pointer: str
    start: int
    end: int
    rule: str
    number: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without secrets, and what replay puts where."""

    text: str
    redactions: tuple[Redaction, ...] = ()


@dataclass(frozen=True, slots=True)
class _Mark:
    start: int
    end: int
    rule: str
    value: str
    quoted: bool = False


def expand(text: str, redactions: Sequence[Redaction], sample: Sample) -> str:
    """Put samples where the placeholders of *redactions* stand in *text*.

    A rule that no longer has samples keeps its placeholder: replay then shows what it lost.
    """
    edits: list[Edit] = []
    for item in redactions:
        try:
            value = sample(item.rule, item.number)
        except (LookupError, ValueError):
            continue
        if item.quoted:  # every byte, or the raw text would show what it did not show before
            value = "".join(f"%{byte:02X}" for byte in value.encode())
        edits.append(Edit(item.pointer, item.start, item.end, value))
    return apply_edits(text, edits) if edits else text


class Redactor:
    """Redacts the texts of one capture. Numbers are given in order of first sight.

    ``key`` hashes the opaque values that are remembered: the values themselves are not.
    """

    def __init__(self, scanner: Scans, *, key: bytes) -> None:
        self._scanner = scanner
        self._key = key
        self._numbers: dict[str, OrderedDict[str, int]] = {}
        self._given: Counter[str] = Counter()

    def clean(self, text: str) -> bool:
        """Tell whether no rule finds a secret in *text*."""
        return not any(f.detector in _HIDDEN for f in self._find(text))

    def opaque(self, value: str) -> str:
        """Return the opaque text that stands for *value* as a whole."""
        return f"[opaque:{self._opaque_number(value)}]"

    def string(self, text: str, *, opaque: bool = False) -> Redacted | None:
        """Redact one decoded string, all of it when *opaque*; None when that cannot be done."""
        if not opaque and self._hides_secret(text):
            opaque = True
        spans = [(0, len(text))] if opaque else secret_values(text)
        return self._checked(text, self._replaced(text, "", self._marks(text), spans))

    def form(self, text: str) -> Redacted | None:
        """Redact a form or a query, value by value; None when that cannot be done."""
        return self._form(text, 0)

    def target(self, text: str) -> Redacted | None:
        """Redact a request target, path and query; None when that cannot be done."""
        path, mark, _ = text.partition("?")
        return None if self._hides_secret(path) else self._form(text, len(path + mark))

    def _form(self, text: str, begin: int) -> Redacted | None:
        query = text[begin:]
        marks = self._marks(text)
        spans = secret_values(text[:begin])
        spans += [(s + begin, e + begin) for s, e in secret_values(query, form=True)]
        for _, start, end in form_values(query):
            value = query[start:end]
            plain = unquote_plus(value)
            if plain != value and (hidden := self._hidden(value, plain)):
                found = hidden[0]
                mark = (start + begin, end + begin, found.rule, found.value_hash)
                marks.insert(0, _Mark(*mark, quoted=True))  # before what a view shows there
        return self._checked(text, self._replaced(text, "", marks, spans))

    def document(self, text: str) -> Redacted | None:
        """Redact a body's text, JSON string by JSON string where it is JSON; None: cannot."""
        if text.lstrip().startswith(("{", "[")):
            try:
                value = parse_json(text)
            except WireError:
                return self._loose(text)
            return self._json(text, value)
        return self._loose(text)

    def _loose(self, text: str) -> Redacted | None:
        # An escape inside damaged JSON may hide a value from the raw scan.
        return None if self._hides_secret(text) else self.string(text)

    def _json(self, text: str, value: object) -> Redacted | None:
        texts = list(walk_json(_SURFACE, value))
        if any(f.detector in _HIDDEN for f in self._scanner.scan(t for t in texts if t.key)):
            return None  # no edit can reach a key
        values = [item for item in texts if not item.key]
        found: dict[str, list[Finding]] = {}
        for finding in self._scanner.scan(values):
            found.setdefault(finding.pointer, []).append(finding)
        secret_prefixes = _secret_prefixes(values)
        edits: list[Edit] = []
        redactions: list[Redaction] = []
        for item in values:
            opaque = _is_secret_place(item.pointer, secret_prefixes)
            opaque = opaque or self._hides_secret(item.text)
            spans = [(0, len(item.text))] if opaque else secret_values(item.text)
            findings = found.get(item.pointer, ())
            if not spans and not findings:
                continue
            marks = _as_marks(item.text, findings)
            stored = self._replaced(item.text, item.pointer, marks, spans)
            if stored.text != item.text:
                edits.append(Edit(item.pointer, 0, len(item.text), stored.text))
                redactions += stored.redactions
        if not edits:
            return Redacted(text)
        redacted = Redacted(apply_edits(text, edits), tuple(redactions))
        return redacted if self._faithful_json(values, redacted) else None

    def _replaced(
        self, text: str, pointer: str, marks: Sequence[_Mark], spans: Sequence[Span]
    ) -> Redacted:
        kept = _longest([mark for mark in marks if _wanted(mark, spans)])
        out: list[str] = []
        redactions: list[Redaction] = []
        position = length = 0
        starts, ends = {mark.start for mark in kept}, {mark.end for mark in kept}
        # A sample needs a word boundary at its edges, some a new sentence; a URL has no spaces.
        gap = ". " if spans and tuple(spans[0]) == (0, len(text)) else "~"

        def put(part: str) -> None:
            nonlocal length
            out.append(part)
            length += len(part)

        for start, end, mark in _pieces(kept, spans):
            put(text[position:start])
            position = end
            if mark is None:
                if start in ends:
                    put(gap)
                value = text[start:end]
                whole = len(value) == len(text)
                # Brackets would need escapes inside a URL.
                put(self.opaque(value) if whole else f"opaque.{self._opaque_number(value)}")
                if end in starts:
                    put(gap)
                continue
            number = self._number(mark.rule, mark.value)
            begin = length
            put(self._scanner.placeholder(mark.rule, number))
            redactions.append(Redaction(pointer, begin, length, mark.rule, number, mark.quoted))
        put(text[position:])
        return Redacted("".join(out), tuple(redactions))

    def _checked(self, text: str, redacted: Redacted) -> Redacted | None:
        if redacted.text == text:
            return redacted
        expanded = self._expanded(redacted)
        if expanded is None or _seen(self._find(text)) != _seen(self._find(expanded)):
            return None
        return redacted

    def _faithful_json(self, values: Sequence[Text], redacted: Redacted) -> bool:
        # What replay will see must give the findings that were seen: or it is not stored.
        expanded = self._expanded(redacted)
        if expanded is None:
            return False
        again = [t for t in walk_json(_SURFACE, parse_json(expanded)) if not t.key]
        return _seen(self._scanner.scan(values)) == _seen(self._scanner.scan(again))

    def _expanded(self, redacted: Redacted) -> str | None:
        try:
            for item in redacted.redactions:
                self._scanner.sample_for(item.rule, item.number)
        except (LookupError, ValueError):
            return None
        return expand(redacted.text, redacted.redactions, self._scanner.sample_for)

    def _find(self, text: str) -> tuple[Finding, ...]:
        return self._scanner.scan((Text(_SURFACE, "", text),))

    def _secrets(self, text: str) -> list[Finding]:
        return [finding for finding in self._find(text) if finding.detector in _HIDDEN]

    def _marks(self, text: str) -> list[_Mark]:
        return _as_marks(text, self._find(text))

    def _hides_secret(self, text: str) -> bool:
        return any(self._hidden(text, view) for view in views(text) if view != text)

    def _hidden(self, text: str, view: str) -> list[Finding]:
        """Return the secrets that *view* of *text* shows more often than *text* itself."""
        shown = (finding for finding in self._secrets(text) if not finding.view)
        known = Counter(finding.value_hash for finding in shown)
        hidden: list[Finding] = []
        for finding in self._secrets(view):
            known[finding.value_hash] -= 1
            if known[finding.value_hash] < 0:
                hidden.append(finding)
        return hidden

    def _number(self, family: str, value: str) -> int:
        numbers = self._numbers.setdefault(family, OrderedDict())
        number = numbers.get(value)
        if number is None:
            self._given[family] += 1
            number = numbers[value] = self._given[family]
            if len(numbers) > _REMEMBERED:
                numbers.popitem(last=False)
        else:
            numbers.move_to_end(value)
        return number

    def _opaque_number(self, value: str) -> int:
        data = value.encode("utf-8", "surrogatepass")
        return self._number("", hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest())


def _as_marks(text: str, findings: Iterable[Finding]) -> list[_Mark]:
    return [
        _Mark(f.start, f.end, f.rule if f.detector in _HIDDEN else f"~{f.rule}", f.value_hash)
        for f in findings
        if 0 <= f.start < f.end <= len(text)
    ]


def _seen(findings: Iterable[Finding]) -> Counter[tuple[str, str, str]]:
    return Counter((f.detector, f.rule, f.pointer) for f in findings)


def _wanted(mark: _Mark, spans: Sequence[Span]) -> bool:
    """Secrets go everywhere; what else was found is kept only where an opaque span hides it."""
    if not mark.rule.startswith("~"):
        return True
    after = bisect_left(spans, mark.end, key=lambda span: span[0])
    return after > 0 and spans[after - 1][1] > mark.start


def _longest(marks: Sequence[_Mark]) -> list[_Mark]:
    """Return marks that do not overlap, the longest first served, in order of start."""
    chosen: list[_Mark] = []
    for mark in sorted(marks, key=lambda m: (m.start - m.end, m.start)):
        place = bisect_left(chosen, mark.start, key=lambda m: m.start)
        free = place == 0 or chosen[place - 1].end <= mark.start
        if free and (place == len(chosen) or mark.end <= chosen[place].start):
            rule = mark.rule.removeprefix("~")
            chosen.insert(place, _Mark(mark.start, mark.end, rule, mark.value, mark.quoted))
    return chosen


def _pieces(marks: Sequence[_Mark], spans: Sequence[Span]) -> list[tuple[int, int, _Mark | None]]:
    """Return the parts to replace in order: marks, and what they leave of the opaque spans."""
    pieces: list[tuple[int, int, _Mark | None]] = [(m.start, m.end, m) for m in marks]
    for begin, end in spans:
        start = begin
        first = bisect_right(marks, begin, key=lambda m: m.end)
        for mark in islice(marks, first, None):
            if mark.start >= end:
                break
            if mark.start > start:
                pieces.append((start, mark.start, None))
            start = mark.end
        if start < end:
            pieces.append((start, end, None))
    return sorted(pieces, key=lambda piece: piece[0])


def _secret_prefixes(values: Sequence[Text]) -> tuple[str, ...]:
    """Return the places that are secret by what stands beside them."""
    prefixes: list[str] = []
    for item in values:
        parent, _, name = item.pointer.rpartition("/")
        if name == "action" and item.text in _ANSWERS:
            prefixes.append(f"{parent}/content")  # what a person typed into an elicitation
        elif name == "grant_type":
            prefixes += [f"{parent}/code", f"{parent}/state"]
    return tuple(prefixes)


def _is_secret_place(pointer: str, prefixes: tuple[str, ...]) -> bool:
    if any(pointer == prefix or pointer.startswith(f"{prefix}/") for prefix in prefixes):
        return True
    return _is_secret_pointer(pointer)


@lru_cache(maxsize=8192)
def _is_secret_pointer(pointer: str) -> bool:
    names = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for position, name in enumerate(names):
        if not is_sensitive(name):
            continue
        # {"properties": {"password": {"type": ...}}} describes a password, it holds none.
        described = position > 0 and names[position - 1] == "properties"
        if not described or position == len(names) - 1:
            return True
    return False
