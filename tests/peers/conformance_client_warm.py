"""Programs that are imported once and run in a fork per call: a suite starts hundreds of them.

``serve SOCKET MODULE:MAIN [MODULE...]`` imports all modules, then waits. ``client SOCKET URL`` is
the command that the suite runs: it hands its arguments, environment and streams over, and ends as
the fork ends. With ``CONFORMANCE_GATES`` set to the folder of the reverse leg it first starts a
``mitmgate run`` in front of URL, and stops it afterwards. This file itself must load fast.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

CRASHED = 70
TURNS = 4


def serve(path: str, main: str, modules: list[str]) -> None:
    """Fork for every call; the fork itself reports its exit code."""
    import importlib

    name, _, function = main.partition(":")
    for module in modules:
        importlib.import_module(module)
    run = getattr(importlib.import_module(name), function)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run_here(connection, run)
            connection.close()


def _run_here(connection: socket.socket, run) -> None:  # type: ignore[no-untyped-def]
    """Become the program that the caller wants; never return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = CRASHED
    try:
        size, streams, _, _ = socket.recv_fds(connection, 8, 3)
        wanted = json.loads(_exactly(connection, int.from_bytes(size)))
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = wanted["arguments"]
        code = run() or 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:  # noqa: BLE001 - what an interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([code]))
        os._exit(code)


def _exactly(connection: socket.socket, size: int) -> bytes:
    with connection.makefile("rb") as stream:
        return stream.read(size)


class Call:
    """A program that runs in a fork of the server at *path*, with these streams."""

    def __init__(
        self, path: str, arguments: list[str], environment: dict[str, str], streams: list[int]
    ) -> None:
        body = json.dumps({"arguments": arguments, "environment": environment}).encode()
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)
        socket.send_fds(self.connection, [len(body).to_bytes(8)], streams)
        self.connection.sendall(body)

    def wait(self) -> int:
        """Return its exit code."""
        with self.connection:
            code = self.connection.recv(1)
        return code[0] if code else CRASHED


class Gate:
    """A ``mitmgate run`` of its own in front of the server at *url*."""

    def __init__(self, folder: Path, url: str) -> None:
        parts = urlsplit(url)
        self.folder = Path(tempfile.mkdtemp(dir=folder, prefix=""))
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        shutil.copytree(folder / "ca", state / "ca")
        policy = (folder / "policy.yaml").read_text().replace("SERVER_URL", url)
        (self.folder / "policy.yaml").write_text(policy)
        arguments = ["mitmgate", "run", "--listen", "127.0.0.1:0", "--state-dir", str(state),
                     "--policy", str(self.folder / "policy.yaml"),
                     "--capture", str(self.folder / "captures"),
                     "--upstream-ca", str(folder / "upstream.pem"),
                     "--mode", f"reverse:{parts.scheme}://{parts.netloc}"]  # fmt: skip
        reading, writing = os.pipe()
        with (self.folder / "log").open("wb") as log, Path(os.devnull).open("rb") as nothing:
            streams = [nothing.fileno(), writing, log.fileno()]
            self.call = Call(str(folder / "mitmgate.sock"), arguments, dict(os.environ), streams)
        os.close(writing)
        with os.fdopen(reading) as lines:
            self.ready = json.loads(lines.readline())

    def stop(self) -> int:
        os.kill(self.ready["pid"], signal.SIGINT)
        return self.call.wait()


def client(path: str, url: str) -> int:
    """Run the client on *url*, through a gate where the leg wants one."""
    environment = dict(os.environ)
    with _turn():
        return _client(path, url, environment)


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until few of these programs run: the suite starts dozens, and has time limits."""
    name = f"mg-turn-{os.getuid()}-{os.getpid() % TURNS}"
    with Path(tempfile.gettempdir(), name).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _client(path: str, url: str, environment: dict[str, str]) -> int:
    folder = environment.get("CONFORMANCE_GATES")
    if folder is None:
        return Call(path, ["client", url], environment, [0, 1, 2]).wait()
    gate = Gate(Path(folder), url)
    environment["CONFORMANCE_CONNECT_TO"] = gate.ready["listen"]
    try:
        return Call(path, ["client", url], environment, [0, 1, 2]).wait()
    finally:
        if gate.stop():
            sys.exit(f"the gate of {url} did not end well, see {gate.folder}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(client(sys.argv[2], sys.argv[3]))
