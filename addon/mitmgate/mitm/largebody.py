"""Large bodies: judged before their end, and sent on in pieces."""

from __future__ import annotations

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy import commands


@dataclass
class LargeBody:
    """A body that is judged before its end, of a request or its *answer*.

    ``start`` is its first bytes, ``size`` how many there are, or are at least. The rest passes
    unread where ``passes`` is set; else the response of *flow* is the answer.
    """

    flow: http.HTTPFlow
    size: int
    start: bytes = b""
    answer: bool = False
    passes: bool = False


@dataclass
class Turn:
    """A large body, or a stream, goes on when others had their turn and its receiver took it.

    The receiver is the client of *flow*, or its server.
    """

    flow: http.HTTPFlow
    to_client: bool = True


@dataclass
class LargeBodyHook(commands.StartHook):
    """A body is judged before its end, or has its next turn; the exchange waits."""

    name = "large_body"
    body: LargeBody | Turn
