"""A secret that goes out in pieces: the end of what each field held, put together with what comes.

Kept for each agent and each registered name that it sends to, and once for each agent whatever the
field and the host. Bounded, never written, and shown by nothing: what is kept is part of requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import parse_qsl, unquote

from mitmgate.judge.egress_texts import HOST, SHORTEST, labels_of
from mitmgate.judge.homes import CREDENTIAL_HEADERS, leaving
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding
from mitmgate.wire.http import RequestHead
from mitmgate.wire.surfaces import Surface, Text

TRAIL = "#trail"
_KEPT = 256  # characters of each field
_SHORT = 128
_MOST_TRAILS = 256
MOST_FIELDS = 32
_MOST_JOINED = 8 * 1024  # characters that one request is worth
_MOST_QUERY = 64
_MOST_SEGMENTS = 8
_LONGEST_EXTENSION = 5
_ANY = "any"
_LEAST = 4
# What no client chooses anew for each request, or what is there to carry credentials.
_USUAL = CREDENTIAL_HEADERS | {
    "host", "content-length", "content-type", "user-agent", "accept", "date", "connection",
    "accept-encoding", "accept-language", "sec-websocket-key", "if-none-match", "traceparent",
    "if-modified-since", "range", "x-request-id", "content-encoding", "transfer-encoding",
}  # fmt: skip

type Pieces = tuple[tuple[str, str], ...]
"""What a request carries: the name of a field, and its value."""
type Tails = Mapping[str, tuple[str, ...]]
"""The last strings of the lines of JSON that came before, by the place that they stood at."""
type Scan = Callable[[Text, str], Sequence[Finding]]
"""Finds credentials in a text that is on its way to a host."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The pieces of a request, and what looks at them once they are put together."""

    pieces: Pieces = field(default=(), repr=False)
    scan: Scan = field(default=lambda _text, _host: (), repr=False)


def sure(scanner: Scanner) -> Scan:
    """Return the scan for credentials by the rules of *scanner* that are sure of themselves."""

    def scan(text: Text, host: str) -> Sequence[Finding]:
        found = scanner.scan((text,), detectors=("secrets", "canary"))
        rules = scanner.rules
        kept = [f for f in found if (rule := rules.get(f.rule)) is None or not rule.generic]
        return leaving(kept, host, scanner)

    return scan


def pieces_of(head: RequestHead, body: Iterable[Text] = ()) -> Pieces:
    """Return the pieces of a request: labels, segments, queries, unusual headers, its *body*."""
    found = [(HOST, labels_of(head.host)), *_of_path(head.path)]
    if head.query:
        found += _of_query(head.query)
    found += [(f"#header/{name}", text) for name, text in head.headers if name not in _USUAL]
    for text in body:
        form = "=" in text.text and (head.get("content-type") or "").startswith(_FORM)
        found += _of_query(text.text) if form else [(text.pointer, text.text)]
    merged: dict[str, str] = {}
    for name, value in found:
        if value and (name in merged or len(merged) < MOST_FIELDS):
            merged[name] = merged.get(name, "") + value
    return tuple(merged.items())


_FORM = "application/x-www-form-urlencoded"


def _of_path(path: str) -> Iterator[tuple[str, str]]:
    for number, segment in enumerate(path.split("/")[-_MOST_SEGMENTS:]):
        plain = unquote(segment)
        name, dot, extension = plain.rpartition(".")
        yield f"#path/{number}", name if dot and len(extension) <= _LONGEST_EXTENSION else plain


def _of_query(query: str) -> Iterator[tuple[str, str]]:
    pairs = query.split("&", _MOST_QUERY)[:_MOST_QUERY]
    for name, value in parse_qsl("&".join(pairs), keep_blank_values=True):
        yield f"#query/{name[:_SHORT]}", value


@dataclass(slots=True)
class _Field:
    """The last value of a field, and what it held in the order it came and in the other one."""

    last: str = field(default="", repr=False)
    before: str = field(default="", repr=False)
    after: str = field(default="", repr=False)

    def learn(self, value: str) -> None:
        self.last = value[-_KEPT:]
        self.before = (self.before + value[-_KEPT:])[-_KEPT:]
        self.after = (value[:_KEPT] + self.after)[:_KEPT]


@dataclass(frozen=True, slots=True)
class _Joined:
    """Old and new put together; what crosses ``seam`` stood in neither of them alone."""

    text: str = field(repr=False)
    seam: int

    @property
    def may_hold(self) -> bool:
        """Whether what stands on the seam is as long as a credential, and no number."""
        before, after = self.text[: self.seam], self.text[self.seam :]
        left = before[-1:].strip() and before.split()[-1]
        right = after[:1].strip() and after.split(maxsplit=1)[0]
        return len(left) + len(right) >= SHORTEST and not f"{left}{right}".isdecimal()


type _Trail = OrderedDict[str, _Field]


class Trails:
    """What went out lately, by agent and by where it went."""

    def __init__(self) -> None:
        self._trails: OrderedDict[tuple[str, str], _Trail] = OrderedDict()

    def findings(self, agent: str, host: str, carried: Carried) -> tuple[Finding, ...]:
        """Return what *carried*, sent to *host*, completes: credentials that began before it."""
        joined = _bounded(self._joined(agent, host, carried.pieces))
        found = _crossing(joined, partial(_scanned, carried.scan, host))
        # The same value may have come together in its field and in the trail of all.
        by_value = {(one.rule, one.value_hash): one for one in found}
        return tuple(replace(one, pointer=TRAIL, start=0, end=0) for one in by_value.values())

    def learn(self, agent: str, host: str, pieces: Pieces) -> None:
        """Remember *pieces*, which went out to *host*."""
        mine = self._trail((agent, _base(host)))
        free = self._trail((agent, "")).setdefault(_ANY, _Field())
        for name, value in _news(mine, pieces):
            mine.setdefault(name, _Field()).learn(value)
            mine.move_to_end(name)
            if _is_short(value):
                free.learn(value)
        while len(mine) > MOST_FIELDS:
            mine.popitem(last=False)

    def _trail(self, key: tuple[str, str]) -> _Trail:
        trail = self._trails.setdefault(key, OrderedDict())
        self._trails.move_to_end(key)
        if len(self._trails) > _MOST_TRAILS:
            self._trails.popitem(last=False)
        return trail

    def _joined(self, agent: str, host: str, pieces: Pieces) -> Iterator[_Joined]:
        mine = self._trails.get((agent, _base(host)), OrderedDict())
        news = list(_news(mine, pieces))
        free = self._trails.get((agent, ""))
        short = "".join(value for _, value in news if _is_short(value))
        if free is not None and short:
            yield from _joined(free[_ANY], short[:_KEPT])
        for name, value in news:
            known = mine.get(name)
            if known is not None:
                yield _Joined(known.before + value[:_KEPT], len(known.before))


def _scanned(scan: Scan, host: str, text: str) -> Sequence[Finding]:
    return scan(Text(Surface.EGRESS_REQUEST, TRAIL, text), host)


def _crossing(
    joined: Iterable[_Joined], scan: Callable[[str], Sequence[Finding]]
) -> Iterator[Finding]:
    """Yield what is found across a seam and in none of its two sides alone."""
    for one in (each for each in joined if each.may_hold):
        # One by one: of texts that are scanned together each is put together with the next.
        found = scan(one.text)
        across = [f for f in found if f.start < one.seam < f.end or f.detector == "limits"]
        if across:
            alone = (scan(one.text[: one.seam]), scan(one.text[one.seam :]))
            known = {finding.rule for side in alone for finding in side}
            yield from (finding for finding in across if finding.rule not in known)


def _bounded(joined: Iterable[_Joined]) -> Iterator[_Joined]:
    left = _MOST_JOINED
    for one in joined:
        left -= len(one.text)
        if left < 0:
            return
        yield one


def _joined(known: _Field, value: str) -> Iterator[_Joined]:
    if known.before:
        yield _Joined(known.before + value[:_KEPT], len(known.before))
    if known.after and known.after != known.before:
        yield _Joined(value + known.after, len(value))


def _news(trail: _Trail, pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Yield the *pieces* that are not what their field held the last time, and single letters."""
    for name, value in pieces:
        known = trail.get(name)
        if known is None or len(value) == 1 or known.last != value[-_KEPT:]:
            yield name, value


def _is_short(value: str) -> bool:
    return _LEAST <= len(value) <= _SHORT and not value.isdecimal()


def _base(host: str) -> str:
    return ".".join(host.split(".")[-2:])
