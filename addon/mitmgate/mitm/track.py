"""What the gate knows of a flow in flight."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy import http

from mitmgate.judge.outcome import Completion, Fate
from mitmgate.mitm.events import StreamJudge
from mitmgate.mitm.sockets import SocketJudge


@dataclass(slots=True)
class Track:
    """Kept beside the flow, never on it (it may be dumped).

    ``released`` says that the request went on, ``refused`` that the response is ours although the
    server began one.
    """

    exchange: str
    started: float = field(default_factory=time.monotonic)
    released: bool = False
    refused: bool = False
    fate: Fate = "answered"
    stream: StreamJudge | None = None
    socket: SocketJudge | None = None

    def completion(self, flow: http.HTTPFlow) -> Completion:
        """Return how *flow* ended."""
        response, judge = flow.response, self.stream or self.socket
        whole = len(response.raw_content or b"") if response is not None else 0
        return Completion(
            exchange=self.exchange,
            status=response.status_code if response is not None else None,
            request_bytes=len(flow.request.raw_content or b""),
            response_bytes=judge.bytes if judge is not None else whole,
            latency=time.monotonic() - self.started,
            fate=self.fate,
        )
