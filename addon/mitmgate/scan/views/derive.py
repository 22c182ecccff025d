"""Which views a message has: one cheap pass says which kinds could differ from the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import re2

from mitmgate.scan.budget import Budget, OverBudget
from mitmgate.scan.patterns import WALL, joined, quiet_options
from mitmgate.scan.shapes import Tokens
from mitmgate.scan.views import escapes, letters, pieces, reorder, runs, spread
from mitmgate.scan.views.page import Page
from mitmgate.scan.views.view import View, composed

DEPTH = 6
_MEMORY = 16 << 20
# The automata are built while they run: these build most of their states before the first call.
_ORDINARY = (
    b'{"id": 17, "name": "Ordinary text, as it stands in a message", "tags": ["a", "b-1"]}\n'
    b"def words(self, *, size: int = 10) -> list[str]:\n    return [w for w in self._words if w]\n"
    b"See https://example.org/a/b?c=d for 3 more; others were built 2024-05-01T10:00:00Z.\n"
    b"iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAGXRFWHRTb2Z0d2FyZQBBZG9iZSBJbWFnZVJlYWR5\n"
) * 3

type Maker = Callable[[Page], Iterator[View]]
type Needed = dict[Maker, list[tuple[int, int]]]
"""The makers that a text needs, and where in it each has something to look at."""

_PIECE = 1 << 12
"""So many bytes are asked at once which makers they need."""
_SHARED = 1 << 8
"""Bytes that two such pieces share: what makes a maker necessary is shorter."""

_PACKED = frozenset({"base64", "base32", "hex", "ascii85", "binary"})
_ONCE = frozenset(
    {"rot13", "atbash", "rot47", "reversed", "reversed-words", "leet", "turned", "word-order"}
)
"""Ways to write a text that are tried in what came out of another one of them no more."""

# Patterns that count in the same letters multiply each other's states in one set: they stand
# in groups that do not.
IN_TOKENS: tuple[tuple[tuple[str, Maker], ...], ...] = (
    ((runs.BASE64, runs.base64_runs), (runs.LONG, runs.long_runs)),
    (
        (reorder.TURNED_TOKEN, reorder.turned_tokens),
        (reorder.REVERSED_TOKEN, reorder.reversed_tokens),
    ),
)
"""What only long tokens, and what stands right beside them, are asked for."""
_BESIDE = 2
GROUPS: tuple[tuple[tuple[str, Maker], ...], ...] = (
    (
        (runs.BASE32, runs.base32_runs),
        (runs.HEX, runs.hex_runs),
        (runs.CODES, runs.code_runs),
        (runs.OCTAL, runs.octal_runs),
        (runs.BINARY, runs.binary_runs),
        (runs.MORSE_CODE, runs.morse_runs),
        (spread.SPREAD, spread.spread),
        (spread.GROUPED, spread.grouped),
    ),
    (
        (reorder.ROT13, reorder.rot13),
        (reorder.REVERSED, reorder.backward),
        (reorder.ATBASH, reorder.atbash),
        (reorder.ROT47, reorder.rot47),
        (reorder.UNORDERED, reorder.unordered),
        (reorder.LEET, reorder.leet),
        (spread.TAGGED, spread.tagged),
        (spread.INNER, spread.inner),
    ),
    (
        (runs.SHORT_LINES, runs.base64_runs),
        (runs.FOREIGN, runs.foreign_runs),
        (escapes.SIMPLE, escapes.simple),
        (escapes.CODED, escapes.coded),
        (escapes.PERCENT, escapes.percent),
        (escapes.PLUS, escapes.plus),
        (escapes.ENTITY, escapes.entities),
        (escapes.QUOTED, escapes.quoted),
        (escapes.BENT, escapes.bent),
        (letters.CONTROL, letters.letters),
        (runs.ASCII85, runs.ascii85_runs),
        (pieces.ADDED, pieces.added),
        (pieces.FIELDS, pieces.fields),
        (pieces.ITEMS, pieces.items),
        (pieces.WORDS, pieces.words),
    ),
)
_PASSES = len(GROUPS) + len(IN_TOKENS)


_LIGHT = _ONCE | {
    "items",
    "words",
    "inner",
    "grouped",
    "lines",
    "markup",
    "form",
    "spread",
    "strings",
}
"""What is not looked for right after another of them: the text had it before."""


_QUOTING = frozenset({"joined", "fields", "items", "words", "inner"})
"""What knows quotes with a backslash, so that it sees nothing new where they lose it."""

_UNESCAPED = frozenset({"unescaped", "json"})
_LAST = (spread.VALUES, escapes.UNQUOTED)
"""What holds nothing else that was not seen before."""

_LIT = frozenset({"json", "fields", "items"})
"""What may bring JSON to light."""


class _Triggers:
    """One ``re2.Set`` that says which makers of a group a text needs."""

    def __init__(self, makers: Sequence[tuple[str, Maker]]) -> None:
        self._makers = [maker for _, maker in makers]
        self._set = re2.Set.SearchSet(quiet_options(_MEMORY))
        for trigger, _ in makers:
            self._set.Add(f"(?m){trigger}")
        self._canary = self._set.Add(r"\A")
        self._set.Compile()
        self.makers(_ORDINARY)

    def makers(self, data: bytes) -> list[Maker]:
        """Return what could make a view of *data*: everything, where RE2 gave up."""
        hits = self._set.Match(data)
        if hits is None or self._canary not in hits:
            return self._makers
        if len(hits) == 1:
            return []
        return [self._makers[hit] for hit in sorted(hits) if hit != self._canary]


_FOREIGN = _Triggers(
    (
        (letters.ODD, letters.letters),
        (letters.SMUGGLED, letters.smuggled),
        (letters.BITS, letters.bits),
        (letters.TURNED_LETTERS, letters.turned),
        (letters.BRAILLE_LETTERS, letters.braille),
    )
)
"""What only text outside of ASCII is asked for."""
_TRIGGERS = tuple(_Triggers(group) for group in GROUPS)
_TOKEN_TRIGGERS = tuple(_Triggers(group) for group in IN_TOKENS)


def derive(texts: Sequence[str], data: bytes, tokens: Tokens, budget: Budget) -> list[View]:
    """Return the views of *texts* that could differ from them; *data* is their frame.

    *tokens* are those of *data*.

    Total on any text. OverBudget where the views are more work than *budget* holds, or texts
    are packed deeper than anybody packs.
    """
    makers = _needed(texts, data, tokens)
    if not makers and not 1 < len(texts) <= 64:
        return []
    page = Page(texts, data, budget)
    seen: set[tuple[int, str]] = set()
    new = list(_unseen(pieces.across(page), seen))
    new += _unseen(_made(page, makers), seen)
    found = list(new)
    for _ in range(DEPTH - 1):
        if not new:
            return found
        new = list(_unseen(_deeper(new, budget), seen))
        found += new
    if any(_packed_again(view) for view in new):
        raise OverBudget
    return found


def _packed_again(view: View) -> bool:
    steps = view.name.split("/")
    return len(steps) >= DEPTH and all(step in _PACKED for step in steps)


def _needed(texts: Sequence[str], data: bytes, tokens: Tokens) -> Needed:
    # The walls between texts are not ASCII.
    foreign = not data.isascii() and not all(map(str.isascii, texts))
    needed: Needed = {}
    size = len(data)
    if size <= 2 * _PIECE:
        for maker in _asked(data, tokens.within(0, size, _BESIDE), foreign=foreign):
            needed[maker] = [(0, size)]
        return needed
    for low in range(0, size - _SHARED, _PIECE):
        high = min(low + _PIECE + _SHARED, size)
        piece = data[low:high]
        odd = foreign and not piece.replace(WALL, b"").isascii()
        for maker in _asked(piece, tokens.within(low, high, _BESIDE), foreign=odd):
            regions = needed.setdefault(maker, [])
            if regions and regions[-1][1] >= low:
                regions[-1] = regions[-1][0], high
            else:
                regions.append((low, high))
    return needed


def _asked(data: bytes, long: bytes, *, foreign: bool) -> list[Maker]:
    """Return what could make a view of *data*, in which the tokens *long* stand."""
    makers: list[Maker] = []
    if long:
        for triggers in _TOKEN_TRIGGERS:
            makers += triggers.makers(long)
    for triggers in _TRIGGERS:
        makers += triggers.makers(data)
    if foreign:
        makers += _FOREIGN.makers(data)
    return makers


def _made(page: Page, needed: Needed) -> Iterator[View]:
    for maker, regions in needed.items():
        page.look_at(regions)
        yield from maker(page)


def _deeper(views: Sequence[View], budget: Budget) -> Iterator[View]:
    """Yield the views of *views*, as views of what those are views of."""
    views = [view for view in views if not view.name.endswith(_LAST)]
    texts = [view.text for view in views]
    data = joined(texts)
    budget.spend(_PASSES * len(data))
    makers = _needed(texts, data, Tokens(data))
    made = _made(Page(texts, data, budget), makers)
    for inner in chain(made, _bared(views, budget)):
        outer = views[inner.index]
        steps = outer.name.split("/")
        if inner.name in _ONCE and not _ONCE.isdisjoint(steps):
            continue
        if inner.name in _LIGHT and steps[-1] in _LIGHT:
            continue
        if inner.name in _QUOTING and steps[-1] in _UNESCAPED and "\\" not in outer.text:
            continue
        yield composed(outer, inner)


def _bared(views: Sequence[View], budget: Budget) -> Iterator[View]:
    """Yield the strings of JSON that came to light in *views*."""
    kept = [index for index, view in enumerate(views) if view.name.split("/")[-1] in _LIT]
    if kept:
        texts = [views[index].text for index in kept]
        for view in spread.bare(Page(texts, joined(texts), budget)):
            yield View(kept[view.index], view.name, view.text, view.origin)


def _unseen(views: Iterator[View], seen: set[tuple[int, str]]) -> Iterator[View]:
    for view in views:
        key = view.index, view.text
        if key not in seen and not view.text.isspace() and view.text:
            seen.add(key)
            yield view
