"""A server as a process of ours: one JSON message a line, and gone when the look is over."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from mitmgate.errors import WireError
from mitmgate.record.lines import printable
from mitmgate.survey.line import (
    Line,
    Meter,
    Trouble,
    answers,
    encoded,
    messages_in,
    notification,
    reply_to,
)
from mitmgate.wire.jsonrpc import Failure, Request, Result

_INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What MCP's own clients let a server see of the environment."""

_CHUNK = 64 * 1024
_PATIENCE = 1.0  # seconds that a server has to end by itself


class StdioLine(Line):
    """Requests written to a process, and the lines that it writes back."""

    def __init__(self, process: Process, meter: Meter) -> None:
        self._process = process
        self._output, self._input = _pipes(process)
        self._meter = meter
        self._buffer = bytearray()
        self._searched = 0

    def settle(self, version: str) -> None:
        """Do nothing: no line says a revision."""

    async def ask(self, request: Request) -> Result | Failure:
        """Write *request*; a line that is no message is skipped, as MCP's own clients do."""
        await self._write(encoded(request))
        while True:
            line = await self._line()
            try:
                messages = messages_in(line.decode())
            except UnicodeDecodeError:
                continue
            except WireError as error:
                if error.code in {"not_json", "not_jsonrpc"}:
                    continue
                raise
            for message in messages:
                if isinstance(message, Request):
                    await self._write(reply_to(message))
                elif isinstance(message, Result | Failure) and answers(message, request):
                    return message

    async def tell(self, method: str) -> None:
        """Write a notification."""
        await self._write(notification(method))

    async def _write(self, data: bytes) -> None:
        try:
            self._input.write(data + b"\n")
            await self._input.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._ended() from None

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            chunk = await self._output.read(_CHUNK)
            if not chunk:
                raise await self._ended()
            self._meter.spend(len(chunk))
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    async def _ended(self) -> Trouble:
        code = self._process.returncode
        if code is None and await _is_over(self._process):
            code = self._process.returncode
        how = "closed its output" if code is None else f"ended (exit code {code})"
        return Trouble(f"the command {how} before it answered", "--verbose shows what it says")


@asynccontextmanager
async def stdio_line(
    command: Sequence[str],
    added: Mapping[str, str],
    meter: Meter,
    *,
    show: Callable[[str], None] | None = None,
) -> AsyncIterator[StdioLine]:
    """Start *command* with a small environment and *added*; end it, and its children, at the end.

    *show* is given what it writes to standard error, line by line and printable. Set deadlines
    inside: one that passed while the process is being ended would leave it running.
    """
    transport, process = await _started(command, added, PIPE if show else DEVNULL)
    talking = asyncio.create_task(_pass_on(process.stderr, show)) if show else None
    try:
        yield StdioLine(process, meter)
    finally:
        await _end(transport, process)
        if talking is not None:
            await asyncio.wait({talking}, timeout=_PATIENCE)
            talking.cancel()


async def _started(
    command: Sequence[str], added: Mapping[str, str], errors: int
) -> tuple[asyncio.SubprocessTransport, Process]:
    loop = asyncio.get_running_loop()
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        # What create_subprocess_exec does; but it keeps the transport, which alone can be closed
        # while a child of the child holds the other ends of the pipes.
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(_CHUNK, loop), *command,
            stdin=PIPE, stdout=PIPE, stderr=errors, env=inherited | dict(added),
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else None
        raise Trouble(f"the command cannot be started: {words or 'it holds a NUL'}") from None
    return transport, Process(transport, protocol, loop)


async def _pass_on(said: asyncio.StreamReader | None, show: Callable[[str], None]) -> None:
    while said is not None and (chunk := await said.read(_CHUNK)):
        for line in chunk.decode("utf-8", "replace").splitlines():
            show(printable(line))


async def _end(transport: asyncio.SubprocessTransport, process: Process) -> None:
    """End the process, politely first, and whatever it has started in its session."""
    for number in (0, 1):
        pipe = transport.get_pipe_transport(number)
        if pipe is not None:
            pipe.close()
    for sign in (None, signal.SIGTERM, signal.SIGKILL):
        if sign is not None:
            _signal(process, sign)
        if await _is_over(process):
            break
    _signal(process, signal.SIGKILL)  # its children may outlive it
    transport.close()
    await _is_over(process)


async def _is_over(process: Process) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            await process.wait()
            return True
    return False


def _signal(process: Process, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign)


def _pipes(process: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    return process.stdout, process.stdin
