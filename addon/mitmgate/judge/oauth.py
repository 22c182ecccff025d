"""Where the credentials of OAuth belong: token endpoints that MCP servers led to.

An assertion or a token in exchange (RFC 7521, RFC 8693) is a credential, and the token endpoint
of a server's own authorization server is its home. Such endpoints are learned from the metadata
chain and from nothing else: an MCP server's protected resource metadata (RFC 9728) names its
authorization servers, their metadata (RFC 8414) names the token endpoint. Bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_host
from mitmgate.scan.finding import Finding
from mitmgate.wire.endpoints import Endpoint

type _Origin = tuple[str, str, int]

_RESOURCE = "/.well-known/oauth-protected-resource"
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
_DEFAULT_TOKEN = "/token"
_PORTS = {"http": 80, "https": 443}
_MOST_SERVERS = 10
_LONGEST_FORM = 64 * 1024


class TokenEndpoints:
    """What the metadata of MCP servers told; the longest unused is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._resources: OrderedDict[Hashable, None] = OrderedDict()
        self._issuers: OrderedDict[Hashable, None] = OrderedDict()
        self._tokens: OrderedDict[Hashable, None] = OrderedDict()

    def spoke(self, endpoint: Endpoint) -> None:
        """Take in that an allowed MCP message went to *endpoint*."""
        self._add(self._resources, _origin(endpoint))

    def learn(self, endpoint: Endpoint, document: Any) -> None:
        """Take in *document*, the JSON that *endpoint* answered a GET with."""
        if not isinstance(document, Mapping):
            return
        origin = _origin(endpoint)
        if _is_under(endpoint.path, _RESOURCE) and origin in self._resources:
            servers = document.get("authorization_servers")
            for url in servers[:_MOST_SERVERS] if isinstance(servers, list) else ():
                self._keep_issuer(url)
        if any(_is_under(endpoint.path, path) for path in _METADATA) and (
            origin in self._issuers or origin in self._resources
        ):
            token = _endpoint_of(document.get("token_endpoint"))
            if token is not None:
                self._add(self._tokens, token)

    def known(self, endpoint: Endpoint) -> bool:
        """Tell whether *endpoint* is the token endpoint of an MCP server."""
        default = _origin(endpoint) in self._resources and endpoint.path == _DEFAULT_TOKEN
        return default or endpoint in self._tokens

    def _keep_issuer(self, url: Any) -> None:
        issuer = _endpoint_of(url)
        if issuer is not None:
            self._add(self._issuers, _origin(issuer))

    def _add(self, table: OrderedDict[Hashable, None], key: Hashable) -> None:
        table[key] = None
        table.move_to_end(key)
        if len(table) > self._limit:
            table.popitem(last=False)


def without_grants(form: str | None, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return *findings* without the credentials in *form* where it is a token request."""
    if form is None or not _is_grant(form):
        return findings
    return tuple(f for f in findings if f.detector != "secrets" or f.pointer != "")


def _origin(endpoint: Endpoint) -> _Origin:
    return endpoint.scheme, endpoint.host, endpoint.port


def _is_under(path: str, prefix: str) -> bool:
    # openid-configuration also stands at the end of an issuer's own path (RFC 8414 section 5).
    return path == prefix or path.startswith(f"{prefix}/") or path.endswith(prefix)


def _endpoint_of(url: Any) -> Endpoint | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or parts.username is not None or parts.fragment:
            return None
        host = normalise_host(parts.hostname or "")
        return Endpoint(parts.scheme, host, parts.port or _PORTS[parts.scheme], parts.path or "/")
    except (ValueError, WireError):
        return None


def _is_grant(form: str) -> bool:
    if len(form) > _LONGEST_FORM:
        return False
    try:
        return len(parse_qs(form, strict_parsing=True).get("grant_type", ())) == 1
    except ValueError:
        return False
