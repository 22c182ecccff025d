"""Segments in the paths of the policy's own servers: often secret, and known again at replay.

A capture has a stand-in for such a segment, as for any other, and beside it, out of band, which
segment of which server it is: replay puts there what its own policy says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.policy.compiled import Policy
from mitmgate.record.expansion import Redacted, Redaction, Sample
from mitmgate.record.standin import Known, disguised, stand_in
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, walk_json

_RULE = "server:"
"""No rule has a colon in its id."""
_SHORTEST = 14  # a shorter stand-in is a word that others may write
_IN_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~+=%")

type Number = Callable[[str, str], int]


def paths_of(policy: Policy) -> dict[str, str]:
    """Return the paths of the servers that *policy* names, without what stands for more."""
    return {name: url.path for name, url in policy.server_urls.items()}


def with_servers(sample: Sample, paths: Mapping[str, str]) -> Sample:
    """Return *sample* that also knows the segments of servers; *paths* has their paths by name."""

    def value(rule: str, number: int) -> str:
        if not rule.startswith(_RULE):
            return sample(rule, number)
        segments = paths.get(rule.removeprefix(_RULE), "").split("/")
        if not 0 <= number < len(segments) or not segments[number]:
            raise LookupError(rule, number)
        return segments[number]

    return value


class OwnPaths:
    """Puts stand-ins for the secret segments of the servers' *paths*, by name.

    *is_secret* tells which segments hold a secret that a rule or a name tells; others go where
    they look random, or are *known* to be secret.
    """

    def __init__(
        self, paths: Mapping[str, str], *, is_secret: Callable[[str], bool], known: Known
    ) -> None:
        self._known = known
        self._places: dict[str, tuple[str, int]] = {}
        self._always: set[str] = set()
        self._shown: dict[str, tuple[str, int]] = {}
        for name, path in paths.items():
            self._take(name, path, is_secret)

    def masked(self, text: str, number: Number) -> str:
        """Return *text*, of the same length, with stand-ins; *number* as ``disguised`` has it."""
        for value, place in self._places.items():
            if value in text and (value in self._always or value in self._known):
                shown = stand_in(len(value), number(f"~{len(value)}", value))
                self._shown[shown] = place
                for start in _places_of(value, text):
                    text = text[:start] + shown + text[start + len(value) :]
        return text

    def marked(self, redacted: Redacted, *, json: bool) -> Redacted:
        """Return *redacted* with what replay puts for the stand-ins in it; *json*: it is JSON."""
        found = [shown for shown in self._shown if shown in redacted.text]
        if not found:
            return redacted
        more = [
            Redaction(pointer, start, start + len(shown), *self._shown[shown])
            for pointer, text in (_strings(redacted.text) if json else [("", redacted.text)])
            for shown in found
            for start in _places_of(shown, text)
        ]
        return replace(redacted, redactions=(*redacted.redactions, *more))

    def _take(self, name: str, path: str, is_secret: Callable[[str], bool]) -> None:
        segments = [(n, s) for n, s in enumerate(path.split("/")) if len(s) >= _SHORTEST]
        hidden = {s for _, s in segments if is_secret(s) or _is_changed(s)}
        if not hidden and _is_changed(path):
            hidden = {s for _, s in segments}  # only all of it looks random
        for number, segment in segments:
            self._places.setdefault(segment, (f"{_RULE}{name}", number))
        self._always |= hidden
        # The longest first: none stands within another then.
        order = sorted(self._places, key=len, reverse=True)
        self._places = {segment: self._places[segment] for segment in order}


_NOBODY = Known()


def _is_changed(text: str) -> bool:
    return disguised(text, _NOBODY, lambda *_: 1) != text


def _places_of(value: str, text: str) -> Iterator[int]:
    """Yield where *value* stands in *text* as a whole word."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        before, after = text[start - 1 : start], text[end : end + 1]
        if before not in _IN_WORDS and after not in _IN_WORDS:
            yield start
        start = text.find(value, end)


def _strings(text: str) -> Iterable[tuple[str, str]]:
    try:
        walked = walk_json(Surface.ARGUMENTS, parse_json(text))
    except WireError:
        return []
    return [(item.pointer, item.text) for item in walked if not item.key]
