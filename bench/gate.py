"""``mitmgate`` as a benchmark wants it; its own arguments follow.

The scanner's patterns are compiled at once, not beside the calls of the first half minute.
``--bare`` takes the scanner's rules and the audit file away. What stays is the strict reading of
every message and the policy, which allows everything. ``--stages FILE`` measures where the time
of the process goes: SIGUSR2 begins, and at the second one the result is written to *FILE*.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from mitmgate.cli import main as run
from mitmgate.scan.engine import Scanner
from mitmgate.serve import launch

INTERVAL = 0.001  # seconds of processor time between two looks
STAGES = ("accept", "TLS", "parse", "judge", "record", "forward")
# Parts of file names, the first that fits: to which stage a frame belongs. Frames of other files
# belong to whoever called them.
PLACES = (
    ("mitmproxy/proxy/mode_servers.py", "accept"),
    ("mitmproxy/addons/proxyserver.py", "accept"),
    ("mitmproxy/addons/next_layer.py", "accept"),
    ("mitmgate/mitm/tunnels.py", "accept"),
    ("mitmgate/mitm/dialling.py", "accept"),
    ("mitmproxy/proxy/layers/tls.py", "TLS"),
    ("mitmproxy/addons/tlsconfig.py", "TLS"),
    ("mitmproxy/net/tls.py", "TLS"),
    ("mitmproxy/certs.py", "TLS"),
    ("/OpenSSL/", "TLS"),
    ("mitmgate/ca/", "TLS"),
    ("mitmproxy/proxy/layers/http/", "parse"),
    ("mitmproxy/net/http/", "parse"),
    ("mitmproxy/http.py", "parse"),
    ("/h2/", "parse"),
    ("/hpack/", "parse"),
    ("mitmgate/wire/", "parse"),
    ("mitmgate/mitm/http", "parse"),
    ("mitmgate/mitm/heads.py", "parse"),
    ("mitmgate/mitm/convert.py", "parse"),
    ("mitmgate/mitm/refusing.py", "parse"),
    ("mitmgate/record/", "record"),
    ("mitmgate/judge/record", "record"),
    ("mitmgate/serve/ledger.py", "record"),
    ("mitmgate/serve/views.py", "record"),
    ("mitmgate/serve/hub.py", "record"),
    ("mitmgate/serve/health.py", "record"),
    ("mitmgate/cli/logs.py", "record"),
    ("structlog/", "record"),
    ("mitmgate/judge/", "judge"),
    ("mitmgate/scan/", "judge"),
    ("mitmgate/policy/", "judge"),
    ("mitmgate/hold/", "judge"),
    ("mitmgate/serve/", "judge"),
    ("mitmproxy/", "forward"),
    ("mitmgate/mitm/", "forward"),
    ("asyncio/", "forward"),
)
OF_THREADS = {"mitmgate-prepare": "judge"}  # every other thread writes


class Stages:
    """Looks at the stack after each millisecond of processor time.

    The looks share out the time of the main thread, as its clock tells it; the other threads
    count by their own clocks. So the stages add up to what the process used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looks: Counter[str] = Counter()
        self._names: dict[str, str | None] = {}
        self._begun: dict[str, float] | None = None
        self._main = 0.0

    def turn(self, *_: Any) -> None:
        """Begin, or end and write."""
        if self._begun is None:
            self._looks.clear()
            self._begun, self._main = _threads(), time.thread_time()
            signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        before, self._begun = self._begun, None
        self._write({
            name: seconds - before.get(name, 0.0) for name, seconds in _threads().items()
        })  # fmt: skip

    def look(self, _: int, frame: FrameType | None) -> None:
        """Count the stage of *frame*, unless another thread used the time."""
        now = time.thread_time()
        if now - self._main < INTERVAL / 4:
            return
        self._main = now
        self._looks[self._stage(frame)] += 1

    def _stage(self, frame: FrameType | None) -> str:
        while frame is not None:
            name = frame.f_code.co_filename
            if name not in self._names:
                self._names[name] = next((stage for part, stage in PLACES if part in name), None)
            stage = self._names[name]
            if stage is not None:
                return stage
            frame = frame.f_back
        return "forward"

    def _write(self, threads: dict[str, float]) -> None:
        looks = sum(self._looks.values())
        main = threads.pop("MainThread")
        seconds = {name: main * self._looks[name] / max(1, looks) for name in STAGES}
        for name, used in threads.items():
            prefix = name.rpartition("_")[0]
            seconds[OF_THREADS.get(prefix, "record")] += used
        whole = {"looks": looks, "seconds": seconds, "total": main + sum(threads.values())}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(whole))
        new.replace(self._path)


def _threads() -> dict[str, float]:
    """Return the processor time of each thread, in seconds, by its name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }


class Nothing:
    """Writes nothing."""

    def append(self, _: object) -> None:
        """Forget it."""

    def close(self) -> None:
        """Do nothing."""


def bare() -> None:
    """Take the checks away."""
    Scanner.scan = lambda *_, **__: ()
    launch.open_audit = lambda _: Nothing()


def main() -> None:
    """Prepare the process, and run mitmgate."""
    launch.warming = partial(launch.warming, pause=0)
    if sys.argv[1] == "--bare":
        del sys.argv[1]
        bare()
    elif sys.argv[1] == "--stages":
        stages = Stages(Path(sys.argv[2]))
        del sys.argv[1:3]
        signal.signal(signal.SIGUSR2, stages.turn)
        signal.signal(signal.SIGPROF, stages.look)
    run()


if __name__ == "__main__":
    main()
