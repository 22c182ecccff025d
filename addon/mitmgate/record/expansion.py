"""What a redacted text is, and how samples come back into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mitmgate.record.encoded import encoded
from mitmgate.wire.edit import Edit, apply_edits

type Sample = Callable[[str, int], str]
"""Gives the sample value that stands for rule and number."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Where a placeholder stands in a stored text: code points of the string at ``pointer``.

    ``view`` names how the value was encoded there (``base64/gzip``), empty where it was not;
    ``quoted`` says the same of percent-encoding.
    """

    pointer: str
    start: int
    end: int
    rule: str
    number: int
    quoted: bool = False
    view: str = ""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without secrets, and what replay puts where."""

    text: str
    redactions: tuple[Redaction, ...] = ()


def expand(text: str, redactions: Sequence[Redaction], sample: Sample) -> str:
    """Put samples where the placeholders of *redactions* stand in *text*.

    A rule that no longer has samples keeps its placeholder: replay then shows what it lost.
    """
    edits: list[Edit] = []
    for item in redactions:
        try:
            value = encoded(sample(item.rule, item.number), item.view)
        except (LookupError, ValueError):
            continue
        if item.quoted:  # every byte, or the raw text would show what it did not show before
            value = "".join(f"%{byte:02X}" for byte in value.encode())
        edits.append(Edit(item.pointer, item.start, item.end, value))
    return apply_edits(text, edits) if edits else text
