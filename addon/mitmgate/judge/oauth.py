"""Where OAuth of MCP servers goes: the endpoints that their metadata names, and whose they are.

An assertion or a token in exchange (RFC 7521, RFC 8693) is a credential, and the token endpoint
of a server's own authorization server is its home. Such endpoints are learned from the metadata
chain and from nothing else: an MCP server's protected resource metadata (RFC 9728) names its
authorization servers, their metadata (RFC 8414, OpenID Connect Discovery) names the endpoints.
Bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_host
from mitmgate.scan.finding import Finding
from mitmgate.wire.endpoints import Endpoint

type _Origin = tuple[str, str, int]
type Role = Literal[
    "metadata", "authorize", "token", "register", "revoke", "introspect", "par", "device", "jwks"
]

MOST_REQUEST = 64 * 1024
"""So many bytes may a request of OAuth have; a larger one is none."""
MOST_ANSWER = 1024 * 1024
"""So many bytes may the answer to one have."""

RESOURCE = "/.well-known/oauth-protected-resource"
METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
_MEMBERS: Mapping[str, Role] = {
    "token_endpoint": "token",
    "registration_endpoint": "register",
    "revocation_endpoint": "revoke",
    "introspection_endpoint": "introspect",
    "pushed_authorization_request_endpoint": "par",
    "device_authorization_endpoint": "device",
    "authorization_endpoint": "authorize",
    "jwks_uri": "jwks",
}
# Of servers of 2025-03-26 without metadata, on their own origin.
_DEFAULTS: Mapping[str, Role] = {"/token": "token", "/register": "register",
                                 "/authorize": "authorize"}  # fmt: skip
_PORTS = {"http": 80, "https": 443}
_MOST_SERVERS = 10


@dataclass(frozen=True, slots=True)
class Led:
    """An endpoint of OAuth: what it is for, and the MCP endpoint that led there."""

    role: Role
    home: Endpoint


def metadata_url(challenge: str) -> str:
    """Return where a ``WWW-Authenticate`` says that the metadata is (RFC 9728, 5.1), else ""."""
    _, _, rest = challenge.partition("resource_metadata=")
    url = rest[1:].partition('"')[0] if rest.startswith('"') else rest.partition(",")[0]
    return url.strip()


class TokenEndpoints:
    """What the metadata of MCP servers told; the longest unused is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._resources: OrderedDict[_Origin, Endpoint] = OrderedDict()
        self._documents: OrderedDict[Endpoint, Endpoint] = OrderedDict()
        self._issuers: OrderedDict[_Origin, Endpoint] = OrderedDict()
        self._endpoints: OrderedDict[Endpoint, Led] = OrderedDict()

    def spoke(self, endpoint: Endpoint) -> None:
        """Take in that an allowed MCP message went to *endpoint*."""
        self._add(self._resources, _origin(endpoint), endpoint)

    def challenged(self, endpoint: Endpoint, header: str) -> None:
        """Take in the ``WWW-Authenticate`` of the MCP *endpoint*: where its metadata is."""
        document = _endpoint_of(metadata_url(header))
        if document is not None:
            self._add(self._documents, document, endpoint)

    def learn(self, endpoint: Endpoint, document: Any) -> None:
        """Take in *document*, the JSON that *endpoint* answered a GET with."""
        if not isinstance(document, Mapping):
            return
        home = self._resource_of(endpoint)
        if home is not None:
            servers = document.get("authorization_servers")
            for url in servers[:_MOST_SERVERS] if isinstance(servers, list) else ():
                issuer = _endpoint_of(url)
                if issuer is not None:
                    self._add(self._issuers, _origin(issuer), home)
        owner = self._issuer_of(endpoint)
        if owner is not None:
            for member, role in _MEMBERS.items():
                named = _endpoint_of(document.get(member))
                if named is not None:
                    self._add(self._endpoints, named, Led(role, owner))

    def known(self, endpoint: Endpoint) -> bool:
        """Tell whether *endpoint* is the token endpoint of an MCP server."""
        led = self.led(endpoint)
        return led is not None and led.role == "token"

    def led(self, endpoint: Endpoint) -> Led | None:
        """Return what *endpoint* is in the OAuth of an MCP server, None where it is nothing."""
        found = self._endpoints.get(endpoint)
        if found is not None:
            self._endpoints.move_to_end(endpoint)
            return found
        home = self._resource_of(endpoint) or self._issuer_of(endpoint)
        if home is not None:
            return Led("metadata", home)
        default = _DEFAULTS.get(endpoint.path)
        home = self._resources.get(_origin(endpoint)) if default is not None else None
        return Led(default, home) if default is not None and home is not None else None

    def is_metadata(self, endpoint: Endpoint) -> bool:
        """Tell whether what *endpoint* answers is worth learning from."""
        return self._resource_of(endpoint) is not None or self._issuer_of(endpoint) is not None

    def _resource_of(self, endpoint: Endpoint) -> Endpoint | None:
        """Return the MCP endpoint whose resource metadata is at *endpoint*."""
        named = self._documents.get(endpoint)
        if named is not None or not _is_under(endpoint.path, RESOURCE):
            return named
        home = self._resources.get(_origin(endpoint))
        path = endpoint.path.removeprefix(RESOURCE)
        # Its path is that of the resource (RFC 9728 section 3.1), of which a host may have many.
        return home if home is None or not path else Endpoint(*_origin(endpoint), path)

    def _issuer_of(self, endpoint: Endpoint) -> Endpoint | None:
        """Return the MCP endpoint whose authorization server has its metadata at *endpoint*."""
        if not any(_is_under(endpoint.path, path) for path in METADATA):
            return None
        origin = _origin(endpoint)
        return self._issuers.get(origin) or self._resources.get(origin)

    def _add[K: Hashable, V](self, table: OrderedDict[K, V], key: K, value: V) -> None:
        table[key] = value
        table.move_to_end(key)
        if len(table) > self._limit:
            table.popitem(last=False)


def without_grants(form: str | None, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return *findings* without the credentials in *form* where it is a token request."""
    if form is None or not is_grant(form):
        return findings
    return tuple(f for f in findings if f.detector != "secrets" or f.pointer != "")


def is_grant(form: str) -> bool:
    """Tell whether *form* is a token request: a form with exactly one grant (RFC 6749)."""
    return len(form_fields(form).get("grant_type", ())) == 1


def form_fields(form: str) -> Mapping[str, list[str]]:
    """Return the fields of *form*, none where it is too large or no form."""
    if len(form) > MOST_REQUEST:
        return {}
    try:
        return parse_qs(form, strict_parsing=True, keep_blank_values=True)
    except ValueError:
        return {}


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
