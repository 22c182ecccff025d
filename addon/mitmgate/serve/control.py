"""Runs the control API on its Unix socket, inside the proxy's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from mitmgate.errors import ConfigError, Problem
from mitmgate.serve.peers import PeerProtocol

_PATH_LIMIT = 100  # sun_path holds 104 bytes on macOS, 108 on Linux


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell whoever waits for it."""
        await super().startup(sockets)
        self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: the launcher owns them."""
        yield


class ControlServer:
    """The control API on *path*; readable by this user only."""

    def __init__(self, app: Starlette, path: Path) -> None:
        self._path = path
        self._socket = _listen(path)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="error",
            access_log=False,
            lifespan="off",
            http=PeerProtocol,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        begun = asyncio.create_task(self._server.begun.wait())
        await asyncio.wait({begun, self._task}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """End every reader, and remove the socket."""
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    if len(bytes(path)) > _PATH_LIMIT:
        raise ConfigError(
            Problem(
                "the path of the control socket is too long for this system",
                file=str(path),
                hint="choose a shorter --state-dir",
            )
        )
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)  # left by a run that was killed; the lock says it is unused
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(64)
    except OSError as error:
        server.close()
        raise ConfigError(
            Problem(
                f"cannot listen: {error.strerror}",
                file=str(path),
                hint="choose another --state-dir",
            )
        ) from error
    server.setblocking(False)
    return server
