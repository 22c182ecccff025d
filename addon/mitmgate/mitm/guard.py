"""What happens when a hook fails: mitmproxy logs and forwards, we deny.

``Guard.deny`` turns a failure in any hook into a denial at the place where that hook still
can. ``Guard.seal`` keeps a flow denied that failed too early for its answer to be replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import http, tls
from mitmproxy.connection import Client, Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

logger = logging.getLogger("mitmgate.guard")

_BODY = (
    b'{"type":"about:blank","title":"Stopped by mitmgate","status":502,'
    b'"code":"internal_error","detail":"mitmgate failed and let nothing through. Tell the '
    b'operator; its log names the failure.",'
    b'"retry":true,"advice":"It may work later: try again once, after a while, and then tell the '
    b'user."}'
)


def failure_response() -> http.Response:
    """Return the answer a client gets when one of our hooks failed."""
    return http.Response.make(502, _BODY, {"content-type": "application/problem+json"})


def safely(answer: Callable[[], http.Response]) -> http.Response:
    """Return what *answer* gives; where it fails, an answer that says so.

    For layers: what they raise, mitmproxy logs, and the client would wait for ever.
    """
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - nothing passes in any case
        logger.error("no answer of ours: %s at %s", type(error).__name__, _place(error))
        return failure_response()


class CloseLayer(layer.Layer):
    """Takes the place of a layer that must not be: closes the client's connection."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


# These tell of an end: nothing can pass after them that has not passed already.
_ENDINGS = frozenset(
    {"client_disconnected", "server_disconnected", "server_connect_error", "error",
     "http_connect_error", "tls_failed_client", "tls_failed_server"}
)  # fmt: skip


class Guard:
    """Denies where hooks failed; ``abort`` cuts one connection of a client at once."""

    def __init__(self, abort: Callable[[Client, Connection], None]) -> None:
        self._abort = abort
        self._sealed: set[str] = set()
        self._refused_clients: set[str] = set()

    def deny(self, name: str, data: Any, error: BaseException) -> None:
        """Deny whatever hook *name* was called for; it raised *error*."""
        # The text of an exception may quote traffic, so only its type and place are logged.
        logger.error("hook %s failed: %s at %s; denied", name, type(error).__name__, _place(error))
        if name in _ENDINGS:
            return
        if isinstance(data, http.HTTPFlow):
            self._deny_flow(name, data)
        elif isinstance(data, ServerConnectionHookData):
            data.server.error = "mitmgate failed; nothing was sent"
            if name == "server_connected":
                self._abort(data.client, data.server)
        elif isinstance(data, NextLayer):
            data.layer = CloseLayer(data.context)
        elif isinstance(data, tls.ClientHelloData):
            data.ignore_connection = False
            self._refused_clients.add(data.context.client.id)
        elif isinstance(data, tls.TlsData):
            data.ssl_conn = None  # "No TLS context was provided, failing connection."
            if name.startswith("tls_established"):
                self._abort(data.context.client, data.conn)
                self._abort(data.context.client, data.context.client)
        elif isinstance(data, Client):
            data.error = "mitmgate failed"

    def refuses(self, name: str, data: Any) -> bool:
        """Tell whether hook *name* must not run because an earlier one failed."""
        return (
            name == "tls_start_client"
            and isinstance(data, tls.TlsData)
            and data.context.client.id in self._refused_clients
        )

    def seal(self, name: str, data: Any) -> None:
        """After the hooks of event *name*: keep denied what failed before its answer was whole."""
        if name == "client_disconnected" and isinstance(data, Client):
            self._refused_clients.discard(data.id)
        if not isinstance(data, http.HTTPFlow) or data.id not in self._sealed:
            return
        if name == "response":
            data.response = failure_response()
        if name in ("response", "error"):
            self._sealed.discard(data.id)

    def _deny_flow(self, name: str, flow: http.HTTPFlow) -> None:
        if name in ("requestheaders", "request", "kept_turn", "http_connect", "response"):
            flow.response = failure_response()
        elif name == "responseheaders":
            # The body comes after this hook and would overwrite ours: deny again in `response`.
            streamed = flow.response is not None and "text/event-stream" in (
                flow.response.headers.get("content-type", "")
            )
            flow.response = failure_response()
            self._sealed.add(flow.id)
            if streamed and flow.killable:
                flow.kill()  # a stream has no end to wait for
        else:
            if flow.websocket is not None and flow.websocket.messages:
                flow.websocket.messages[-1].drop()  # it was not judged
            self._abort(flow.client_conn, flow.client_conn)


def _place(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "?"
    return f"{traceback.tb_frame.f_code.co_qualname}:{traceback.tb_lineno}"
