"""Bodies that are no text: what of them can be read, apart from what chance made."""

from __future__ import annotations

from collections.abc import Iterator

from mitmgate.wire.surfaces import Surface, Text

NOISE = "#body"
WRITTEN = "#body/text"

_GAP = "\ufffd"
_MOSTLY = 8  # of so many characters one that is none makes it no text
_LEAST = 8  # characters in a row that say something
_LONG = 64  # that chance does not make
_PRINTABLE = frozenset(map(chr, range(32, 127))) | frozenset("\t\r\n")


def is_noise(unread: str) -> bool:
    """Say whether *unread*, what a lenient decoder makes of a body, is no text."""
    return unread.count(_GAP) * _MOSTLY >= len(unread)


def unread_texts(surface: Surface, unread: str) -> Iterator[Text]:
    """Yield what can be read of *unread*; in noise long runs of text stand apart."""
    text = unread.replace("\0", "")
    if not is_noise(text):
        yield Text(surface, NOISE, text)
        return
    # Chance makes letters of every script: only what is long enough to say something.
    runs = [(run, _is_written(run)) for run in text.split(_GAP) if len(run) >= _LEAST]
    yield Text(surface, NOISE, _GAP.join(run for run, written in runs if not written))
    long = [run for run, written in runs if written]
    if long:
        yield Text(surface, WRITTEN, _GAP.join(long))


def _is_written(run: str) -> bool:
    return len(run) >= _LONG and sum(map(_PRINTABLE.__contains__, run)) * 10 >= len(run) * 9
