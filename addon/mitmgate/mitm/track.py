"""What the gate knows of a flow in flight."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy import http

from mitmgate.judge.outcome import Completion, Fate
from mitmgate.mitm.early import Kept
from mitmgate.mitm.events import StreamJudge
from mitmgate.mitm.sockets import SocketJudge

type Piece = bytes


@dataclass(slots=True)
class Counter:
    """Passes on the pieces of a body that nobody reads, and counts their bytes."""

    bytes: int = 0

    def __call__(self, piece: Piece) -> Piece:
        """Return *piece* as it is."""
        self.bytes += len(piece)
        return piece


@dataclass(slots=True)
class Track:
    """Kept beside the flow, never on it (it may be dumped).

    ``released`` says that the request went on, ``refused`` that the response is ours although the
    server began one. ``plain`` says that it is not MCP, ``unread`` that answers may pass unread;
    ``upload`` and ``download`` count what passes so. ``kept`` is a call whose answer began early.
    """

    exchange: str
    started: float = field(default_factory=time.monotonic)
    released: bool = False
    refused: bool = False
    fate: Fate = "answered"
    stream: StreamJudge | None = None
    socket: SocketJudge | None = None
    unread: bool = False
    plain: bool = False
    upload: Counter | None = None
    download: Counter | None = None
    kept: Kept | None = None

    def completion(self, flow: http.HTTPFlow) -> Completion:
        """Return how *flow* ended."""
        response, judge = flow.response, self.stream or self.socket or self.download
        whole = len(response.raw_content or b"") if response is not None else 0
        return Completion(
            exchange=self.exchange,
            status=response.status_code if response is not None else None,
            request_bytes=self.upload.bytes
            if self.upload
            else len(flow.request.raw_content or b""),
            response_bytes=judge.bytes if judge is not None else whole,
            latency=time.monotonic() - self.started,
            fate=self.fate,
            detail=self._unread(),
        )

    def _unread(self) -> str | None:
        """Return which body passed unread, None where none did."""
        passed = {"request": self.upload, "answer": self.download}
        which = [name for name, counter in passed.items() if counter is not None]
        return f"body unread: {' and '.join(which)}" if which else None
