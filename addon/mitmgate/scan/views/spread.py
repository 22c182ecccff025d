"""Letters that stand apart: spaces, dots, emphasis or tags between them."""

from __future__ import annotations

from collections.abc import Iterator

from mitmgate.scan.views.page import CHEAP_EDIT, Page, Window, pattern
from mitmgate.scan.views.view import Edit, View

_SIGNS = "._*|/~-,+^:;=\\"
_ENDED = (*(f"\\{sign}" for sign in _SIGNS), "\\n")
_APART = "|".join(
    rf"\b[A-Za-z0-9](?:{sep}[A-Za-z0-9]){{5}}{end}"
    for sep, end in [*((sep, r"\b") for sep in _ENDED), ("·", ""), ("•", ""), ("_", "")]
)
SPREAD = (
    rf"(?:^|\s|[\"'(:=])\S(?:[ \t]{{1,4}}\S){{6,}}(?:\s|$)|{_APART}"
    r"|\b[A-Za-z0-9](?: [.\-*|/_·•] ?[A-Za-z0-9]){5}\b"
)
_SPREAD = pattern(SPREAD)
_SHORT = 3

_TAG = r"</?[A-Za-z][^<>]{0,100}/?>|<!--[^<>]{0,60}-->"
_MARK = r"\*{1,3}|`{1,2}|~~|__|\|\||=="
_INLINE = "(?i:b|i|u|em|strong|span|font|mark|small|sub|sup|wbr|code|tt|s|del|ins)"
TAGGED = (
    r"[A-Za-z0-9]<[/!A-Za-z][^<>]*>(?:<[/!A-Za-z][^<>]*>)*[A-Za-z0-9]"
    r"|[A-Za-z](?:\*{1,3}|`{1,2}|~~|\|\||/\*[^*]*\*/)[A-Za-z]"
    r"|\b[A-Za-z] ?</(?:b|i|em|strong|span|u|font|a|s)>"
    r"|\b__[A-Za-z]{1,3}__[A-Za-z]|[A-Za-z]__[A-Za-z]{1,2}__[A-Za-z]"
    rf"|[A-Za-z,] ?</?{_INLINE}\b[^<>]*> ?[A-Za-z]"
    r"|(?:\B[*_]{1,3}[A-Za-z]+[*_]{1,3}\W{1,2}){3}"
)
_TAGGED = pattern(TAGGED)
_MARKUP = pattern(rf"(?:{_TAG}|{_MARK}|/\*[^*]{{0,30}}\*/|\B[*_]\b|\b[*_]\B)+")
GROUPED = (
    r"(?:\b[A-Za-z0-9_]{2} ){9}|(?:\b[A-Za-z0-9_]{3} ){8}|(?:\b[A-Za-z0-9_]{4} ){6}"
    r"|(?:\b[A-Za-z0-9_]{5} ){5}|(?:\b[A-Za-z0-9_]{6} ){5}|(?:\b[A-Za-z0-9_]{8} ){4}"
    r"|(?:\b[A-Z0-9]{4} ){4}"
)
_GROUPED = pattern(GROUPED)
_GROUPS = pattern(r"\b[A-Za-z0-9_\-]{2,10}(?: [A-Za-z0-9_\-]{2,10})+")


def spread(page: Page) -> Iterator[View]:
    """Yield words whose letters stand apart, together again."""
    for window in page.windows(_SPREAD, chunk=128, pad=96):
        for separator in _separators(window):
            yield from window.edited(
                "spread", list(_together(window.text, separator)), cost=CHEAP_EDIT
            )


def _separators(window: Window) -> list[str]:
    """Return the signs, or the sign, that part letters in *window*: the likeliest."""
    text = window.text
    if _is_apart(text, " "):
        most = text.count(" ") // 3
        signs = [sign for sign in _SIGNS + "·•" if text.count(f" {sign} ") > most]
        return [f" {sign} " for sign in signs[:1]] or [" "]
    seen = [(text.count(sign), sign) for sign in (*_SIGNS, "·", "•", "\n")]
    best = sorted([pair for pair in seen if pair[0] > 4 and _is_apart(text, pair[1])], reverse=True)
    return [sign for _, sign in best[:2]]


def _is_apart(text: str, sign: str) -> bool:
    parts = text.split(sign)
    return sum(len(part) <= 1 for part in parts) > 4


def _together(text: str, sign: str) -> Iterator[Edit]:
    """Yield the edits that take *sign* away where it parts single letters; two are a space."""
    parts = text.split(sign)
    width, at = len(sign), 0
    gap = "\n" if sign == "\n" else " "
    spaced = False
    for index, part in enumerate(parts[:-1]):
        at += len(part)
        after = parts[index + 1]
        if (not part or not part.strip()) and index and len(parts[index - 1]) <= _SHORT:
            if not spaced:
                yield at, at + width, gap if not part else ""
            else:
                yield at, at + width, ""
            spaced = True
        elif _single(part, last=True) and _single(after, last=False):
            yield at, at + width, ""
            spaced = False
        else:
            spaced = False
        at += width


def _single(part: str, *, last: bool) -> bool:
    """Tell whether *part* ends (or begins) with a letter that stands alone."""
    if len(part) <= 1:
        return True
    near = part[-2:] if last else part[:2]
    other = near[0] if last else near[1]
    return other in " \n\t\"'([{.,:;!?)]}" or len(part) <= 2


def grouped(page: Page) -> Iterator[View]:
    """Yield tokens that spaces cut into groups of equal length, whole."""
    for window in page.windows(_GROUPED, chunk=128, pad=96):
        spans = window.found(_GROUPS)
        edits: list[Edit] = []
        for start, end in window.points(spans):
            edits += _regrouped(window.text, start, end)
        yield from window.edited("grouped", edits, cost=CHEAP_EDIT)


def _regrouped(text: str, start: int, end: int) -> Iterator[Edit]:
    parts, at = text[start:end].split(" "), start
    for index, part in enumerate(parts[:-1]):
        at += len(part)
        after = parts[index + 1]
        before = parts[index - 1] if index else after
        if len(part) == len(after) or (len(after) < len(part) == len(before)):
            yield at, at + 1, ""
        at += 1


def tagged(page: Page) -> Iterator[View]:
    """Yield words with tags, emphasis or comments between their letters, without them."""
    for window in page.gathered(_TAGGED, pad=128):
        spans = window.found(_MARKUP)
        yield from window.edited("markup", [(*span, "") for span in window.points(spans)])


_LISTED = r"[\[,]\s*\\?[\"']"
_OPENING = rf"<!--|\]: ?(?:#|<>) ?[(\"']|\\?[\"']\s*:\s*\\?[\"']|{_LISTED}|[\"'\w/]>|/\*+"
_FIRST = (
    r"(?i:ignore|disregard|forget|override|bypass|from now|"
    r"you (?:are|must|should|will|have|need)|your (?:new|real|task|job)|do not|don't|never|always|"
    r"please|important|attention|urgent|system|new instruction|pretend|act as|instead|stop|reveal|"
    r"print|send|delete|assistant|ai|note to|when(?:ever)? you|"
    r"before (?:you|using|calling|doing|any)|after (?:you|using|calling)|if you are|repeat|respond|"
    r"reply|answer|say|write|output|include|execute|run|call|use|tell|forward|upload|read|fetch|"
    r"end of|actually|remember|attn)[ \t\n:,!.\\-]"
)
INNER = rf"(?:{_OPENING})\s*{_FIRST}"
_INNER = pattern(INNER)
_OPENED = pattern(rf"(?:{_OPENING})\s*")


def inner(page: Page) -> Iterator[View]:
    """Yield what gives an order in a comment, an element or a JSON string, on its own line."""
    for window in page.gathered(_INNER, chunk=64, pad=192):
        edits: list[Edit] = []
        spans = window.found(_INNER)
        for start, end in spans:
            if phrase(window.raw, start, end):
                continue
            opened = _OPENED.search(window.raw[start:end])
            if opened is not None:
                places = [(start, start + opened.span()[1])]
                edits += [(*span, "\n") for span in window.points(places)]
        yield from window.edited("inner", edits)


_PHRASE = pattern(rf"^{_LISTED}[^\"'\n\\.!?:]{{0,80}}\\?[\"']\s*[,\])}}]")


def phrase(raw: bytes, start: int, end: int) -> bool:
    """Tell whether at *start* of *raw* stands a short phrase, whole, in a list of such."""
    return _PHRASE.search(raw[start : end + _LONGEST_PHRASE]) is not None


_LONGEST_PHRASE = 96
_MUCH = 2048
VALUES = "values"
"""The name of JSON's strings alone: whatever else they hold was seen before."""
_FILLED = pattern(r"[{\[,]\s*\"[^\"\\\n]{0,40}\"\s*:\s*\"|[{\[]\s*\"[A-Za-z ]")


def bare(page: Page) -> Iterator[View]:
    """Yield the strings of JSON each on a line of its own."""
    for window in page.windows(_FILLED, chunk=_MUCH):
        yield from window.swapped(VALUES, window.text.replace('"', "\n"))
