"""Replaces secrets in texts before they are written, so that replay can put samples back.

What a rule found becomes a numbered placeholder with an entry in an out-of-band list; what is
secret by its place only becomes an opaque number, and what merely looks drawn at random a
stand-in of the same length. Equal values stay equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol
from urllib.parse import unquote_plus

from mitmgate.record.digits import as_stand_in, follows_name, numbers_in
from mitmgate.record.encoded import can_encode
from mitmgate.record.expansion import Redacted, Redaction, Sample, expand
from mitmgate.record.marks import HIDDEN, Mark, as_marks, is_shared, longest, pieces, seen, wanted
from mitmgate.record.memo import Memo
from mitmgate.record.numbering import Numbering
from mitmgate.record.ours import OwnPaths
from mitmgate.record.places import is_below, is_secret_place, is_secret_pointer, secret_prefixes
from mitmgate.record.sensitive import Span, form_values, secret_values
from mitmgate.record.standin import Known, disguised, without
from mitmgate.record.texts import names_secret, secret_spans, strings_of, united
from mitmgate.record.views import views
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Edit, apply_edits
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, Text, walk_json

__all__ = ["Paths", "Redacted", "Redaction", "Redactor", "Sample", "Scans", "expand", "strings_of"]

_SURFACE = Surface.ARGUMENTS

type Paths = Mapping[str, str]
"""The paths of servers by name."""


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


class Redactor:
    """Redacts the texts of one capture. Numbers are given in order of first sight.

    ``key`` hashes the opaque values that are remembered: the values themselves are not. ``vouched``
    says that all of an input was looked through and held no secret; who begins one sets it.
    ``renumbered`` are the numbers of the last document that were replaced, and by what.
    """

    def __init__(self, scanner: Scans, *, key: bytes) -> None:
        self._scanner = scanner
        self.numbering = Numbering(key)
        self._ours: OwnPaths | None = None
        self._known = Known()
        self._nothing_found = self._no_secret = False
        self.vouched = True
        self.renumbered: dict[float, str] = {}
        self.memo = Memo(lambda: self.book)

    @property
    def nothing_found(self) -> bool:
        """Whether what is redacted at the moment was looked through, and nothing was in it."""
        return self._nothing_found

    @property
    def book(self) -> object:
        """The rules that count at the moment."""
        return getattr(self._scanner, "book", self._scanner)

    @contextmanager
    def screened(self, texts: Sequence[Text]) -> Iterator[None]:
        """Look through *texts* at once: inside, none of them or of their parts is scanned again.

        What is redacted inside must be among them. ``vouched``, True before the first of several,
        stays so where they hold no secret.
        """
        found = self._scanner.scan(texts) if texts else ()
        hidden = any(f.detector in HIDDEN or f.detector == "limits" for f in found)
        before = self._nothing_found, self._no_secret
        self._nothing_found, self._no_secret = not found, not hidden
        self.vouched = self.vouched and not hidden
        try:
            yield
        finally:
            self._nothing_found, self._no_secret = before

    def clean(self, text: str) -> bool:
        """Tell whether no rule finds a secret in *text*."""
        return not any(f.detector in HIDDEN for f in self._find(text))

    def opaque(self, value: str) -> str:
        """Return the opaque text that stands for *value* as a whole."""
        return f"[opaque:{self.numbering.of('', value)}]"

    def learn(self, value: str) -> None:
        """Take in that *value* is secret: it is so wherever it comes again."""
        self._known.learn(value)

    def adopt(self, paths: Paths) -> None:
        """Take *paths* for those of the policy's servers by name: replay puts its own there."""

        def is_secret(text: str) -> bool:
            return bool(secret_values(text)) or not self.clean(text)

        self._ours = OwnPaths(paths, is_secret=is_secret, known=self._known) if paths else None

    def _around(
        self, text: str, redact: Callable[[str], Redacted | None], *, json: bool = False
    ) -> Redacted | None:
        if self._ours is None:
            return redact(text)
        redacted = redact(self._ours.masked(text, self.numbering.of))
        return None if redacted is None else self._ours.marked(redacted, json=json)

    def string(self, text: str, *, opaque: bool = False) -> Redacted | None:
        """Redact one decoded string, all of it when *opaque*; None when that cannot be done."""
        return self._around(text, partial(self._string, opaque=opaque))

    def _string(self, text: str, *, opaque: bool = False) -> Redacted | None:
        if not opaque and self._hides(text):
            opaque = True
        if opaque:
            return self._checked(text, self._marks(text), [(0, len(text))])
        redacted = self._checked(text, self._marks(text), secret_spans(text))
        return None if redacted is None else self._disguised(redacted)

    def name(self, text: str) -> Redacted | None:
        """Redact the name of a host or the like, where nothing is told by its looks."""
        return self._checked(text, self._marks(text), secret_values(text))

    def form(self, text: str) -> Redacted | None:
        """Redact a form or a query, value by value; None when that cannot be done."""
        return self._around(text, partial(self._form, begin=0))

    def target(self, text: str) -> Redacted | None:
        """Redact a request target, path and query; None when that cannot be done."""
        return self._around(text, self._target)

    def _target(self, text: str) -> Redacted | None:
        path, mark, _ = text.partition("?")
        return None if self._hides(path) else self._form(text, len(path + mark))

    def _form(self, text: str, begin: int) -> Redacted | None:
        query = text[begin:]
        marks = self._marks(text)
        spans = secret_values(text[:begin])
        spans += [(s + begin, e + begin) for s, e in secret_values(query, form=True)]
        for _, start, end in form_values(query):
            value = query[start:end]
            plain = unquote_plus(value)
            if plain == value:
                continue
            if secret_values(plain):
                spans.append((start + begin, end + begin))
            if hidden := self._hidden(value, plain):
                found = hidden[0]
                mark = (start + begin, end + begin, found.rule, found.value_hash)
                marks.insert(0, Mark(*mark, quoted=True))  # before what a view shows there
        redacted = self._checked(text, marks, united(spans))
        return None if redacted is None else self._disguised(redacted)

    def document(self, text: str, strings: Sequence[Text] | None = None) -> Redacted | None:
        """Redact a body's text, JSON string by JSON string where it is JSON; None: cannot.

        *strings* are those of :func:`strings_of`, where they are known.
        """
        texts = strings_of(text) if strings is None else strings
        self.renumbered = {}
        if len(texts) == 1 and texts[0].text is text:
            return self._around(text, self._loose)

        def redact(masked: str) -> Redacted | None:
            return self._json(masked, texts if masked == text else strings_of(masked))

        return self._around(text, redact, json=True)

    def _loose(self, text: str) -> Redacted | None:
        # An escape inside damaged JSON may hide a value from the raw scan.
        return None if self._hides(text) else self._string(text)

    def _json(self, text: str, texts: Sequence[Text]) -> Redacted | None:
        keys = [item for item in texts if item.key]
        if not self._no_secret and any(f.detector in HIDDEN for f in self._scanner.scan(keys)):
            return None  # no edit can reach a key
        if any(secret_values(key.text) for key in keys):
            return None
        values = [item for item in texts if not item.key]
        if (prefixes := secret_prefixes(values)) or names_secret(text, keys):
            text = self._without_numbers(text, prefixes)
        found: dict[str, list[Finding]] = {}
        for finding in () if self._nothing_found else self._scanner.scan(values):
            found.setdefault(finding.pointer, []).append(finding)
        if any(is_shared(as_marks(t.text, found.get(t.pointer, ()))) for t in values if found):
            return None
        for viewed in (True, False):
            redacted, plain = self._edited(text, values, found, viewed=viewed)
            if plain or self._faithful_json(values, redacted, viewed=viewed):
                return self._disguised(redacted, json=True)
        return None

    def _without_numbers(self, text: str, prefixes: tuple[str, ...]) -> str:
        def is_secret(pointer: str) -> bool:
            return is_below(pointer, prefixes) or is_secret_pointer(pointer)

        out, done = "", 0
        for start, end in numbers_in(text, is_secret, sure=True):
            token = text[start:end]
            shown = self.renumbered[float(token)] = as_stand_in(token, self.numbering.of)
            out, done = out + text[done:start] + shown, end
        return out + text[done:]

    def _edited(
        self, text: str, values: Sequence[Text], found: dict[str, list[Finding]], *, viewed: bool
    ) -> tuple[Redacted, bool]:
        """Return *text* with its secret values replaced, and whether that cannot be wrong."""
        prefixes = secret_prefixes(values)
        edits: list[Edit] = []
        redactions: list[Redaction] = []
        plain = True
        for item in values:
            place = is_secret_place(item, prefixes)
            opaque = place or self._hides(item.text)
            spans = [(0, len(item.text))] if opaque else secret_spans(item.text)
            findings = found.get(item.pointer, ())
            if not spans and not findings:
                continue
            self._learn(item.text, spans)
            marks = as_marks(item.text, findings)
            stored = self._replaced(item.text, item.pointer, (marks, spans), viewed=viewed)
            if stored.text != item.text:
                edits.append(Edit(item.pointer, 0, len(item.text), stored.text))
                redactions += stored.redactions
                plain = plain and opaque and self._nothing_found
        return Redacted(apply_edits(text, edits) if edits else text, tuple(redactions)), plain

    def _learn(self, text: str, spans: Iterable[Span]) -> None:
        for start, end in spans:
            self._known.learn(text[start:end])

    def _replaced(
        self, text: str, pointer: str, parts: tuple[Sequence[Mark], Sequence[Span]], *, viewed: bool
    ) -> Redacted:
        marks, spans = parts
        kept = longest([mark for mark in marks if wanted(mark, spans)])
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

        for start, end, mark in pieces(kept, spans):
            put(text[position:start])
            position = end
            if mark is None:
                if start in ends:
                    put(gap)
                value = text[start:end]
                whole = len(value) == len(text)
                if follows_name(text, start, end):
                    put(as_stand_in(value, self.numbering.of))
                    continue
                # Brackets would need escapes inside a URL.
                put(self.opaque(value) if whole else f"opaque.{self.numbering.of('', value)}")
                if end in starts:
                    put(gap)
                continue
            begin = length
            shown, made = self._placed(mark, pointer, begin, viewed=viewed)
            put(shown)
            redactions.append(made)
        put(text[position:])
        return Redacted("".join(out), tuple(redactions))

    def _placed(
        self, mark: Mark, pointer: str, begin: int, *, viewed: bool
    ) -> tuple[str, Redaction]:
        """Return the placeholder of *mark*, and what replay puts there."""
        number = self.numbering.of_hash(mark.rule, mark.value)
        shown = self._scanner.placeholder(mark.rule, number)
        view = mark.view if viewed and can_encode(mark.view) else ""
        if view:
            shown = f"{shown[:-1]}:{view.replace('/', '+')}]"
        end = begin + len(shown)
        return shown, Redaction(pointer, begin, end, mark.rule, number, mark.quoted, view)

    def _checked(self, text: str, marks: Sequence[Mark], spans: Sequence[Span]) -> Redacted | None:
        self._learn(text, spans)
        if is_shared(marks):
            return None
        for viewed in (True, False):
            redacted = self._replaced(text, "", (marks, spans), viewed=viewed)
            whole = bool(spans) and tuple(spans[0]) == (0, len(text))
            if redacted.text == text or (whole and self._nothing_found):
                return redacted
            expanded = self._expanded(redacted)
            if expanded is not None and seen(self._scan_one(text), viewed=viewed) == seen(
                self._scan_one(expanded), viewed=viewed
            ):
                return redacted
        return None

    def _faithful_json(self, values: Sequence[Text], redacted: Redacted, *, viewed: bool) -> bool:
        # What replay will see must give the findings that were seen: or it is not stored.
        expanded = self._expanded(redacted)
        if expanded is None:
            return False
        again = [t for t in walk_json(_SURFACE, parse_json(expanded)) if not t.key]
        before = self._scanner.scan(values)
        return seen(before, viewed=viewed) == seen(self._scanner.scan(again), viewed=viewed)

    def _expanded(self, redacted: Redacted) -> str | None:
        try:
            for item in redacted.redactions:
                self._scanner.sample_for(item.rule, item.number)
        except (LookupError, ValueError):
            return None
        return expand(redacted.text, redacted.redactions, self._scanner.sample_for)

    def _disguised(self, redacted: Redacted, *, json: bool = False) -> Redacted | None:
        """Return *redacted* with stand-ins for what looks random; None: more is found by then."""
        text = redacted.text
        if self._nothing_found:
            told = disguised(text, self._known, self.numbering.of)
            return replace(redacted, text=told)
        before = self._walked(redacted, json=json)
        found = self._scanner.scan(before)
        texts = {item.pointer: item.text for item in before}
        # What was found must be found again: it has a rule, and is no secret by that.
        kept = [texts.get(f.pointer, "")[f.start : f.end] for f in found if f.start < f.end]
        told = disguised(text, self._known, self.numbering.of, kept=kept)
        if told == text:
            return redacted
        hidden = replace(redacted, text=told)
        return (
            hidden
            if seen(found) == seen(self._scanner.scan(self._walked(hidden, json=json)))
            else None
        )

    def _walked(self, redacted: Redacted, *, json: bool) -> list[Text]:
        text = expand(redacted.text, redacted.redactions, self._scanner.sample_for)
        if not json:
            return [Text(_SURFACE, "", text)]
        return [item for item in walk_json(_SURFACE, parse_json(text)) if not item.key]

    def _find(self, text: str) -> tuple[Finding, ...]:
        return () if self._nothing_found else self._scan_one(text)

    def _scan_one(self, text: str) -> tuple[Finding, ...]:
        return self._scanner.scan((Text(_SURFACE, "", text),))

    def _secrets(self, text: str) -> list[Finding]:
        return [finding for finding in self._scan_one(text) if finding.detector in HIDDEN]

    def _marks(self, text: str) -> list[Mark]:
        return as_marks(text, self._find(text))

    def _hides(self, text: str) -> bool:
        """Tell whether a view of *text* shows a secret that *text* itself does not."""
        shown = list(views(text))
        if not self._no_secret and any(self._hidden(text, view) for view in shown):
            return True
        if spans := secret_values(text):
            shown = list(views(without(text, spans)))
        return any(map(secret_values, shown))

    def _hidden(self, text: str, view: str) -> list[Finding]:
        """Return the secrets that *view* of *text* shows more often than *text* itself."""
        if self._no_secret:
            return []
        known = Counter(finding.value_hash for finding in self._secrets(text))
        hidden: list[Finding] = []
        for finding in self._secrets(view):
            known[finding.value_hash] -= 1
            if known[finding.value_hash] < 0:
                hidden.append(finding)
        return hidden
