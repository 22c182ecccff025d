"""The last look at a record before it is written: no rule may find a secret in any of its strings.

Peers choose names and keys, so a tool's name or a JSON pointer can hold a credential.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mitmgate.record.lines import encode_line
from mitmgate.scan.finding import Finding
from mitmgate.wire.surfaces import Surface, Text

REDACTED = "[redacted]"


class Scans(Protocol):
    """The part of ``scan.engine.Scanner`` that scrubbing needs."""

    def scan(self, texts: Iterable[Text]) -> tuple[Finding, ...]:
        """Return the findings in *texts*."""
        ...


def scrub(record: Mapping[str, Any], scanner: Scans) -> dict[str, Any]:
    """Return *record* with every string that holds a secret replaced; most have none."""
    if not _holds_secret(encode_line(record).decode(), scanner):
        return dict(record)
    scrubbed = {key: _scrubbed(value, scanner) for key, value in record.items()}
    if not _holds_secret(encode_line(scrubbed).decode(), scanner):
        return scrubbed
    # Only the strings together make the secret: keep what cannot be part of one.
    return {key: _blanked(key, value) for key, value in scrubbed.items()}


def _scrubbed(value: Any, scanner: Scans) -> Any:
    if isinstance(value, str):
        return REDACTED if _holds_secret(value, scanner) else value
    if isinstance(value, Mapping):
        return {key: _scrubbed(item, scanner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, scanner) for item in value]
    return value


def _blanked(key: str, value: Any) -> Any:
    if isinstance(value, str) and key not in ("type", "time", "verdict", "rule", "code", "kind"):
        return REDACTED
    return [] if isinstance(value, list | Mapping) else value


def _holds_secret(text: str, scanner: Scans) -> bool:
    found = scanner.scan((Text(Surface.ARGUMENTS, "", text),))
    return any(finding.detector in ("secrets", "canary") for finding in found)
