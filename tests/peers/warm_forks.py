"""An interpreter that has imported what many tests start, and forks a program for every request.

``warm_forks.py SOCKET MODULE...`` imports the modules and listens. A request is the arguments of an
interpreter (``-m MODULE ...`` or ``FILE ...``), an environment, a folder and three streams; the
answer is the program's process id. The program is no child of this one: it is left to the
nearest subreaper above, which is whoever started this (``prctl(2)``, PR_SET_CHILD_SUBREAPER).
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
from pathlib import Path

CRASHED = 1
PDEATHSIG = 1
SIZE = 8


def main() -> None:
    """Listen until the one that started this is gone."""
    path, *modules = sys.argv[1:]
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                between = os.fork()
                if between == 0:
                    listener.close()
                    _fork(connection)
                os.waitpid(between, 0)


def _fork(connection: socket.socket) -> None:
    """Start the program and end, so that its parent is the subreaper."""
    size, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
    with connection.makefile("rb") as body:
        wanted = json.loads(body.read(int.from_bytes(size, "big")))
    between = os.getpid()
    program = os.fork()
    if program:
        connection.sendall(program.to_bytes(SIZE, "big"))
        os._exit(0)
    while os.getppid() == between:
        os.sched_yield()
    connection.close()
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    _become(wanted["arguments"], wanted["environment"], wanted["folder"])


def _become(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Run the program to its end, as an interpreter does; never return."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = CRASHED
    try:
        if arguments[0] == "-m":
            sys.argv, sys.path[0] = arguments[1:], folder
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
            runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as ending:
        code = _code(ending)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - what an interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # nobody reads it any more
                code = code or CRASHED
        os._exit(code)


def _code(ending: SystemExit) -> int:
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    sys.stderr.write(f"{ending.code}\n")
    return 1


if __name__ == "__main__":
    main()
