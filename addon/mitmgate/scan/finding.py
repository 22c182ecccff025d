"""What a detector reports. A finding never holds the text that it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mitmgate.wire.surfaces import Surface

type Detector = Literal["secrets", "injection", "poisoning", "pii", "canary", "limits"]
type Severity = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A hit of one rule in one string.

    ``pointer`` is the JSON pointer of the string inside the message, or ``""`` for a text
    that is no JSON. ``start`` and ``end`` are offsets in code points of that decoded string.
    ``value_hash`` is a keyed hash (HMAC-SHA-256 with the installation's key, first 16 hex
    digits): equal values have equal hashes, and nothing can be read back from it.
    ``view`` names the reading of the string in which the value stood (``base64/gzip``), empty
    where it stood there as it is. ``note`` says for a canary where it was planted.
    """

    detector: Detector
    rule: str
    severity: Severity
    surface: Surface
    pointer: str
    start: int
    end: int
    value_hash: str
    view: str = ""
    note: str = ""
