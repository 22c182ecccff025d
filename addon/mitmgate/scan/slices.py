"""Large messages in pieces: each is scanned alone, with an overlap, so that none takes long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mitmgate.wire.surfaces import Text

LARGEST = 1 << 20
"""Code points that are scanned at once."""
OVERLAP = 1 << 15
"""Code points that two slices of one text share; no value that a rule finds is half as long."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the text with this ``index`` in its message, from ``offset`` on.

    What is found at ``low`` or later and before ``high`` is the slice's own; the rest stands
    whole in the slices beside it.
    """

    index: int
    item: Text
    offset: int
    low: int
    high: int


def batches(items: Sequence[Text]) -> Iterator[list[Slice]]:
    """Yield the slices of *items* in order, together no more than :data:`LARGEST` code points."""
    batch: list[Slice] = []
    size = 0
    for index, item in enumerate(items):
        for part in _slices(index, item):
            length = len(part.item.text)
            if batch and size + length > LARGEST:
                yield batch
                batch, size = [], 0
            batch.append(part)
            size += length
    if batch:
        yield batch


def _slices(index: int, item: Text) -> Iterator[Slice]:
    text, length = item.text, len(item.text)
    if length <= LARGEST:
        yield Slice(index, item, 0, 0, length)
        return
    step, half = LARGEST - OVERLAP, OVERLAP // 2
    for offset in range(0, length - OVERLAP, step):
        last = offset + LARGEST >= length
        part = item._replace(text=text[offset : offset + LARGEST])
        high = len(part.text) if last else LARGEST - half
        yield Slice(index, part, offset, half if offset else 0, high)
