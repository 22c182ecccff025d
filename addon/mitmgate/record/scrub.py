"""The last look at a record before it is written: no rule may find a secret in any of its strings.

Peers choose names and keys, so a tool's name or a JSON pointer can hold a credential.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from mitmgate.record.lines import encode_line
from mitmgate.record.standin import without_tokens
from mitmgate.scan.finding import Finding
from mitmgate.wire.surfaces import Surface, Text

REDACTED = "[redacted]"


class Scans(Protocol):
    """The part of ``scan.engine.Scanner`` that scrubbing needs."""

    def scan(self, texts: Iterable[Text]) -> tuple[Finding, ...]:
        """Return the findings in *texts*."""
        ...


def scrub(record: Mapping[str, Any], scanner: Scans) -> dict[str, Any]:
    """Return *record* with every string that holds a secret replaced; most have none.

    In what peers choose freely (URLs, names of tools, sentences that tell of them) that also goes
    which is a secret by its place, or by its looks.
    """
    if _is_known(record, scanner):
        return dict(record)
    told = {key: _told(key, value) for key, value in record.items()}
    if not _holds_secret(encode_line(told).decode(), scanner):
        if told == record:
            _remember(record, scanner)
        return told
    scrubbed = {key: _scrubbed(value, scanner) for key, value in told.items()}
    if not _holds_secret(encode_line(scrubbed).decode(), scanner):
        return scrubbed
    # Only the strings together make the secret: keep what cannot be part of one.
    return {key: _blanked(key, value) for key, value in scrubbed.items()}


_FREE = frozenset(
    {
        "endpoint",
        "tool",
        "url",
        "method",
        "reason",
        "detail",
        "pointer",
        "covers",
        "prefix",
        "protocol_version",
        "name",
        "title",
        "version",
    }
)


def _told(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if key == "pointer" and value.endswith("~key"):
            return f"{value.rpartition('/')[0]}/*~key"  # what was found is the name itself
        return without_tokens(value, REDACTED) if key in _FREE else value
    if isinstance(value, Mapping):
        return {name: _told(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_told(key.removesuffix("s"), item) for item in value])
    return value


_OURS = frozenset({"id", "exchange", "time"})
_LONGEST_ID = 24
_NO_SIGNS = str.maketrans("", "", "-:.")
_MOST_CLEAN = 4096


class _Clean:
    """The texts in which these rules found nothing: records are much alike."""

    def __init__(self, book: object) -> None:
        self.book = book
        self.digests: set[bytes] = set()


_clean: WeakKeyDictionary[Scans, _Clean] = WeakKeyDictionary()


def _is_known(record: Mapping[str, Any], scanner: Scans) -> bool:
    book = getattr(scanner, "book", None)
    if book is None:
        return False
    known = _clean.get(scanner)
    if known is None or known.book is not book:
        _clean[scanner] = _Clean(book)
        return False
    return _digest(record) in known.digests


def _remember(record: Mapping[str, Any], scanner: Scans) -> None:
    known = _clean.get(scanner) if getattr(scanner, "book", None) is not None else None
    if known is None:
        return
    if len(known.digests) >= _MOST_CLEAN:
        known.digests.clear()
    known.digests.add(_digest(record))


def _digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of *record* without numbers and ids of our own, which hold no secret."""
    told = {key: value for key, value in record.items() if not _is_ours(key, value)}
    return hashlib.blake2b(encode_line(told), digest_size=16).digest()


def _is_ours(key: str, value: Any) -> bool:
    if isinstance(value, int | float):
        return True
    if key not in _OURS or not isinstance(value, str):
        return False
    return len(value) <= _LONGEST_ID and value.translate(_NO_SIGNS).isalnum()


def _scrubbed(value: Any, scanner: Scans) -> Any:
    if isinstance(value, str):
        return REDACTED if _holds_secret(value, scanner) else value
    if isinstance(value, Mapping):
        return {key: _scrubbed(item, scanner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_scrubbed(item, scanner) for item in value])
    return value


def _blanked(key: str, value: Any) -> Any:
    if isinstance(value, str) and key not in ("type", "time", "verdict", "rule", "code", "kind"):
        return REDACTED
    return [] if isinstance(value, list | Mapping) else value


def _holds_secret(text: str, scanner: Scans) -> bool:
    found = scanner.scan((Text(Surface.ARGUMENTS, "", text),))
    return any(finding.detector in ("secrets", "canary") for finding in found)
