"""Programs of the tests that start in a fork of an interpreter that has imported them.

Hundreds of tests start a proxy, a client and a server each, and each would import for a second
what the last one imported. A ``WarmPopen`` is a ``subprocess.Popen``: same process id, streams,
signals and exit code. What tests how programs start, end or meet a terminal uses ``Popen`` itself.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, AnyStr

from peers import PEERS

__all__ = ["IMPORTS", "WarmPopen", "warm_run"]

SERVER = Path(__file__).parents[1] / "peers" / "warm_forks.py"
SUBREAPER = 36
SIZE = 8
# What each interpreter imports before its first fork.
IMPORTS = {
    sys.executable: ("mitmgate_warm", "mitmgate.cli.app", "mitmgate.demo.client",
                     "mitmgate.demo.server", "mcp.client.sse", "mcp.server.sse", "uvicorn"),
    str(PEERS / "mcp1" / "bin" / "python"): (
        "mcp.client.streamable_http", "mcp.client.sse", "mcp.client.websocket",
        "mcp.server.fastmcp", "uvicorn"),
    str(PEERS / "fastmcp" / "bin" / "python"): ("fastmcp",),
}  # fmt: skip


class WarmPopen(subprocess.Popen[AnyStr]):
    """``Popen`` of ``[PYTHON, "-m", MODULE, ...]`` or ``[PYTHON, FILE, ...]``, already imported.

    It takes the three streams, *env*, *cwd* and *text*; nothing else is inherited. *PYTHON* is
    one of ``IMPORTS``.
    """

    def _execute_child(self, *given: Any) -> None:
        """Ask for a fork instead of making one; *given* is what ``Popen`` passes (3.13, 3.14)."""
        (python, *arguments), folder, environment = given[0], given[5], given[6]
        pipes = given[10:16]
        streams = (pipes[0], pipes[3], pipes[5])
        wanted = {
            "arguments": arguments,
            "environment": dict(os.environ if environment is None else environment),
            "folder": str(folder or Path.cwd()),
        }
        own = [at if at != -1 else number for number, at in enumerate(streams)]
        try:
            self.pid = _fork(_listening(python), json.dumps(wanted).encode(), own)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True


def warm_run(
    command: list[str], *, environment: dict[str, str] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end, as ``subprocess.run`` does, without an input."""
    with WarmPopen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    ) as process:  # fmt: skip
        try:
            out, errors = process.communicate(timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _fork(path: str, wanted: bytes, streams: list[int]) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [len(wanted).to_bytes(SIZE, "big")], streams)
        connection.sendall(wanted)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(SIZE, socket.MSG_WAITALL)
        assert len(answer) == SIZE, "no fork was made"
        connection.recv(1)  # the end: the program is our own child now
    return int.from_bytes(answer, "big")


@functools.cache
def _listening(python: str) -> str:
    """Start the interpreter that forks; return its socket."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    folder = tempfile.TemporaryDirectory(prefix="mg-warm-")
    atexit.register(folder.cleanup)
    path = str(Path(folder.name) / "s")
    process = subprocess.Popen(
        [python, str(SERVER), path, *IMPORTS[python]], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(process.kill)
    line = process.stdout.readline() if process.stdout else ""
    assert line == "ready\n", f"{python} does not import what it should"
    return path
