"""Credentials on their way home: what a provider or a named server is given is no leak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding

CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key", "api-key",
     "dpop", "mcp-session-id", "x-auth-token", "private-token"}
)  # fmt: skip
"""Headers whose purpose is to carry a credential."""
_HEADER = "#header/"


def leaving(findings: Sequence[Finding], host: str, scanner: Scanner) -> tuple[Finding, ...]:
    """Return *findings* in a request to *host* without the credentials that belong there.

    In the head only: a provider's own token in a body may stand there for all to read.
    """
    if not any(finding.pointer.startswith("#") for finding in findings):
        return tuple(findings)
    return tuple(_leaving(findings, host, scanner))


def _leaving(findings: Sequence[Finding], host: str, scanner: Scanner) -> Iterator[Finding]:
    for finding in findings:
        if finding.detector == "secrets" and finding.pointer.startswith("#"):
            home = scanner.home_of(finding.rule)
            if any(host == name or host.endswith(f".{name}") for name in home):
                continue
            if not home and in_credential_header(finding):
                continue  # nobody can say where it belongs
        yield finding


def in_credential_header(finding: Finding) -> bool:
    """Tell whether *finding* stands in a header that is there to carry credentials."""
    return finding.pointer.removeprefix(_HEADER) in CREDENTIAL_HEADERS


def without_logins(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return *findings* in a request to a named server without what logs the client in there."""
    return tuple(f for f in findings if f.detector != "secrets" or not in_credential_header(f))
