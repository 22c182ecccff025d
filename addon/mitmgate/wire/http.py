"""The heads of HTTP messages as the wire and judge layers see them: values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Headers = tuple[tuple[str, str], ...]
"""Name and value pairs in wire order; names in lower case, values decoded as latin-1."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request line and its headers.

    ``host`` is the normalised host that would be dialled, ``target`` the origin-form
    request target (path and query, RFC 9112 section 3.2.1).
    """

    method: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    target: str
    headers: Headers = ()

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without ``?``; empty when there is none."""
        return self.target.partition("?")[2]

    @property
    def url(self) -> str:
        """The absolute URL, with the port only where it is not the scheme's own."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    def get(self, name: str) -> str | None:
        """Return the first value of header *name* (lower case), or None."""
        return _first(self.headers, name)

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return every value of header *name* (lower case), in wire order."""
        return tuple(value for key, value in self.headers if key == name)


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """A status code and the headers of an answer."""

    status: int
    headers: Headers = ()

    def get(self, name: str) -> str | None:
        """Return the first value of header *name* (lower case), or None."""
        return _first(self.headers, name)

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, in lower case; empty when absent."""
        return (self.get("content-type") or "").partition(";")[0].strip().lower()


def _first(headers: Headers, name: str) -> str | None:
    for key, value in headers:
        if key == name:
            return value
    return None
