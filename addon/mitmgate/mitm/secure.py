"""TLS with clients and with servers: what one handshake has made is there for the next.

mitmproxy hands each connection a certificate and a key that OpenSSL has to read anew, and begins
every handshake with a server from nothing. Clients resume by tickets (RFC 8446 section 2.2) in
either case: the contexts that seal them are kept.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from typing import Any

from mitmproxy import ctx, tls
from mitmproxy.addons.tlsconfig import (
    AppData,
    TlsConfig,
    _default_ciphers,
    alpn_select_callback,
)
from mitmproxy.certs import CertStoreEntry
from mitmproxy.connection import Client, Connection, Server
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from OpenSSL import SSL

from mitmgate.mitm.fast import is_on

MOST = 256  # hosts whose contexts, and whose sessions, are kept
SESSION_SECONDS = 3600.0  # after it a server proves its name again

type Made = tuple[Key, SSL.Connection]
"""The TLS of a connection, and whom it is with."""

type Key = tuple[SSL.Context, object, str | None, tuple[bytes, ...]]
"""Whom a session is with: the context (roots, versions, our own certificate), address, name,
protocols."""


class GateTls(TlsConfig):
    """Takes the place of ``TlsConfig``; what is not said here is as there."""

    name = "tlsconfig"

    def __init__(self) -> None:
        self._keeps_leaves, self._resumes = is_on("leaves"), is_on("sessions")
        self._leaves: OrderedDict[int, tuple[CertStoreEntry, SSL.Context]] = OrderedDict()
        self._sessions: OrderedDict[Key, tuple[float, SSL.Session]] = OrderedDict()
        self._refused: OrderedDict[Key, None] = OrderedDict()  # they break off where one is offered
        self._live: weakref.WeakKeyDictionary[Connection, Made] = weakref.WeakKeyDictionary()
        self._given: weakref.WeakKeyDictionary[Connection, Made] = weakref.WeakKeyDictionary()

    # Clients

    def tls_start_client(self, tls_start: tls.TlsData) -> None:
        """Begin TLS with a client, by the context that its host already has."""
        options = ctx.options
        special = (tls_start.is_dtls or options.request_client_cert or options.ciphers_client
                   or options.add_upstream_certs_to_client_chain)  # fmt: skip
        client = tls_start.conn
        if special or not self._keeps_leaves or tls_start.ssl_conn is not None:
            super().tls_start_client(tls_start)
            return
        if not isinstance(client, Client):
            raise TypeError("no client")
        made = SSL.Connection(self._leaf(self.get_cert(tls_start.context)))
        layers = tls_start.context.layers
        outer = len(layers) == 2 and isinstance(layers[0], modes.HttpProxy)
        made.set_app_data(AppData(
            client_alpn=b"http/1.1" if outer else client.alpn,
            server_alpn=tls_start.context.server.alpn,
            http2=options.http2,
        ))  # fmt: skip
        made.set_accept_state()
        tls_start.ssl_conn = made

    def _leaf(self, entry: CertStoreEntry) -> SSL.Context:
        """Return the context of the certificate in *entry*."""
        known = self._leaves.get(id(entry))  # the entry is kept, so its id is no other's
        if known is not None:
            self._leaves.move_to_end(id(entry))
            return known[1]
        lowest = net_tls.Version[ctx.options.tls_version_client_min]
        made: SSL.Context = net_tls.create_client_proxy_context.__wrapped__(  # one for itself
            method=net_tls.Method.TLS_SERVER_METHOD,
            min_version=lowest,
            max_version=net_tls.Version[ctx.options.tls_version_client_max],
            cipher_list=_default_ciphers(lowest),
            ecdh_curve=net_tls.get_curve(ctx.options.tls_ecdh_curve_client),
            chain_file=entry.chain_file,
            request_client_cert=False,
            alpn_select_callback=alpn_select_callback,
            extra_chain_certs=(),
            dhparams=self.certstore.dhparams,
        )
        made.use_certificate(entry.cert.to_cryptography())
        made.use_privatekey(entry.privatekey)
        made.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # the client keeps its ticket, we nothing
        self._leaves[id(entry)] = entry, made
        _bound(self._leaves)
        return made

    # Servers

    def tls_start_server(self, tls_start: tls.TlsData) -> None:
        """Begin TLS with a server, by the session of the last connection to it."""
        given = self._given.pop(tls_start.conn, None)
        if given is not None:
            tls_start.ssl_conn = given[1]  # its handshake is over
            self._live[tls_start.conn] = given
            return
        super().tls_start_server(tls_start)
        made, server = tls_start.ssl_conn, tls_start.conn
        if made is None or not isinstance(server, Server):
            return
        key = made.get_context(), server.address, server.sni, tuple(server.alpn_offers)
        self._live[server] = key, made
        if self._resumes and key not in self._refused:
            session = self._session(key)
            if session is not None:
                made.set_session(session)

    def _session(self, key: Key) -> SSL.Session | None:
        until, session = self._sessions.get(key, (0.0, None))
        if time.monotonic() >= until:
            self._sessions.pop(key, None)
            return None
        return session

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Offer no session to a server that broke off where one was offered."""
        made = self._live.pop(data.conn, None)
        if made is not None and self._sessions.pop(made[0], None) is not None:
            self._refused[made[0]] = None
            _bound(self._refused)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """Keep the session of a connection that is over."""
        made = self._live.pop(data.server, None)
        if made is None or data.server.timestamp_tls_setup is None or data.server.error:
            return
        self.keep(made)

    def keep(self, ended: Made) -> None:
        """Keep the session of *ended*, whose handshake was over."""
        if not self._resumes:
            return
        key, made = ended
        # OpenSSL spoils the session of a connection that did not say that it ends.
        made.set_shutdown(SSL.SENT_SHUTDOWN)
        session = made.get_session()
        if session is not None:
            self._sessions[key] = time.monotonic() + SESSION_SECONDS, session
            self._sessions.move_to_end(key)
            _bound(self._sessions)

    # Connections that are handed on

    def release(self, server: Server) -> Made | None:
        """Return the TLS of *server*, which goes to somebody else; None where it has none."""
        return self._live.pop(server, None)

    def give(self, server: Server, made: Made) -> None:
        """Let *made*, whose handshake is over, be the TLS of *server*."""
        self._given[server] = made


def _bound(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > MOST:
        kept.popitem(last=False)
