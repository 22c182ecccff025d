"""The console under load: time of a frame, memory, and how far it lags behind a busy proxy.

``python bench/console.py [SECONDS]`` prints

- the time of one frame with 1,000, 10,000 and 100,000 rows, measured in turns: following, with an
  old row selected, and with a filter, and the ratio of the last to the first;
- the memory that a row takes, with 100,000 kept;
- the time until a filter and a sort are done over 100,000 rows, and the longest slice of it;
- with 2,000 events a second from a feeder on the socket: how old the newest row is when it is
  drawn, and the share of a processor that the console takes;
- the latency of 100 calls a second through a real proxy with no console and with one on a
  terminal, rounds interleaved, and the ratio.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from client import Crowd, Http1, Shape
from legs import FULL, Leg, legs

from mitmgate.control.models import (
    Completed,
    CompletedEvent,
    Event,
    Row,
    RowEvent,
    Snapshot,
    State,
    StateEvent,
)
from mitmgate_tui.app import Console, connect
from mitmgate_tui.entry import Entry
from mitmgate_tui.screenshot import Replay

SIZE = (140, 45)
COUNTS = (1_000, 10_000, 100_000)
FRAMES = 30
RATE = 2_000
ROUNDS, CALLS, CALL_RATE = 4, 300, 100
SHAPE = Shape("json", 2_000)


def state(decisions: int = 0) -> State:
    return State(
        version="0", listen="127.0.0.1:8080", mode="enforce", policy="sha256:0", pending=0,
        operators=1, decisions=decisions, denied=0, healthy=True,
    )  # fmt: skip


def row(number: int) -> Row:
    return Row.model_validate({
        "id": f"3fa90c-{number:x}.0", "time": time.time(), "kind": "request", "channel": "mcp",
        "agent": f"agent-{number % 7}", "server": "github", "host": "mcp.github.com",
        "endpoint": "https://mcp.github.com/mcp", "method": "tools/call",
        "tool": f"tool_{number % 40}", "verdict": "deny" if number % 10 == 0 else "allow",
        "rule": "reads", "code": "rule", "reason": "Reads are fine.", "enforced": True, "edits": 0,
    })  # fmt: skip


def done(number: int) -> Completed:
    return Completed(
        exchange=f"3fa90c-{number:x}", status=200, request_bytes=412 + number % 100,
        response_bytes=2_310, latency=(number * 7919 % 1000) / 1000, fate="answered",
    )  # fmt: skip


def line(event: Event) -> bytes:
    return event.model_dump_json().encode() + b"\n"


# Frames


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    into.append((time.perf_counter() - begun) * 1000)


def more(app: Console, count: int) -> None:
    for number in range(app.board.entries.end, app.board.entries.end + count):
        app.board.apply(RowEvent(row=row(number)))
        app.board.apply(CompletedEvent(completed=done(number)))


def frame(app: Console) -> None:
    """Take in five new rows, and draw every line of the screen."""
    more(app, 5)
    app._tick()
    app.screen._compositor.render_strips(app.size)


async def frames() -> None:
    results: dict[str, dict[int, list[float]]] = {}
    apps = {count: Console(Replay([])) for count in COUNTS}
    for count, app in apps.items():
        app.board.gone = None
        app.board.apply(StateEvent(state=state()))
        more(app, count)
    for mode in ("following", "an old row selected", "filtered"):
        for count, app in apps.items():
            async with app.run_test(size=SIZE) as pilot:
                await pilot.pause()
                if mode != "following":
                    await pilot.press("g")
                if mode == "filtered":
                    await pilot.press("escape", "x")
                    while app.board.feed.busy:
                        await pilot.pause()
                times: list[float] = []
                for _ in range(FRAMES):
                    with timed(times):
                        frame(app)
                    await pilot.pause()
                results.setdefault(mode, {})[count] = times
            apps[count] = again(app)
    for mode, by_count in results.items():
        middle = {count: statistics.median(times) for count, times in by_count.items()}
        shown = "  ".join(f"{count:>7}: {ms:5.1f} ms" for count, ms in middle.items())
        print(f"frame, {mode:<20} {shown}   ratio {middle[COUNTS[-1]] / middle[COUNTS[0]]:.2f}")


def again(app: Console) -> Console:
    """Return a new console with the rows of *app*: one cannot be started twice."""
    fresh = Console(Replay([]))
    fresh.board = app.board
    fresh.board.feed.pick(None)
    fresh.board.feed.resume()
    return fresh


def memory() -> None:
    app = Console(Replay([]))
    tracemalloc.start()
    more(app, COUNTS[-1])
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"memory, {COUNTS[-1]} rows: {used / 1e6:.0f} MB, {used / COUNTS[-1]:.0f} bytes each")
    feed = app.board.feed
    for name, begin in {
        "filter": lambda: feed.pick(lambda entry: "tool_1" in entry.get("tool")),
        "sort": lambda: feed.sort(_latency),
    }.items():
        feed.resume()
        begin()
        slices: list[float] = []
        while feed.busy:
            with timed(slices):
                feed.step()
        print(f"{name} of {COUNTS[-1]} rows: {sum(slices):.0f} ms in {len(slices)} slices, "
              f"the longest {max(slices):.1f} ms")  # fmt: skip


def _latency(entry: Entry) -> float:
    return entry.latency or 0.0


# Lag


async def feed_events(path: Path, seconds: float) -> None:
    """Serve the socket, and send the one reader RATE events a second."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n")
        writer.write(line(Snapshot(state=state(), rows=(), pending=(), operator=False)))
        begun, sent, beats = time.monotonic(), 0, 0
        while (now := time.monotonic() - begun) < seconds + 60 and not reader.at_eof():
            while sent < now * RATE:
                number = sent // 2
                event: Event = RowEvent(row=row(number))
                if sent % 2:
                    event = CompletedEvent(completed=done(number))
                writer.write(line(event))
                sent += 1
            if now > beats:
                beats += 1
                writer.write(line(StateEvent(state=state(sent))))
            try:
                await writer.drain()
            except ConnectionError:  # the console has seen enough
                return
            await asyncio.sleep(0.005)

    server = await asyncio.start_unix_server(serve, str(path))
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--watch", str(path), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    server.close()
    told = json.loads(out)
    print(f"lag with {RATE} events a second for {seconds:.0f} s: median {told['median']:.2f} s, "
          f"worst {told['worst']:.2f} s; {told['rows']} rows; {told['cpu']:.0%} of a processor; "
          f"{told['rss']:.0f} MB")  # fmt: skip


async def watch(path: Path, seconds: float) -> None:
    """Run the console without a terminal; say how old the newest row was each time."""
    app = connect(path, None)
    lags: list[float] = []
    async with app.run_test(size=SIZE) as pilot:
        while not len(app.board.entries):  # noqa: ASYNC110 - the board knows no event loop
            await asyncio.sleep(0.01)
        begun, used = time.monotonic(), time.process_time()
        while time.monotonic() - begun < seconds:
            await asyncio.sleep(0.05)
            newest = app.board.entries.numbered(app.board.entries.end - 1)
            lags.append(time.time() - newest.get("time"))
        cpu = (time.process_time() - used) / (time.monotonic() - begun)
        await pilot.pause()
    print(json.dumps({
        "median": statistics.median(lags), "worst": max(lags), "rows": app.board.entries.end,
        "cpu": cpu, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


# The proxy's latency


@contextmanager
def console_on(leg: Leg) -> Iterator[None]:
    """Run the real console with the operator key on a terminal, attached, for the block."""
    assert leg.state is not None
    end, inner = pty.openpty()
    os.set_blocking(end, True)
    child = subprocess.Popen(
        [sys.executable, "-m", "mitmgate_tui", "--state-dir", str(leg.state)],
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        env=os.environ | {"MITMGATE_OPERATOR_KEY": leg.key, "TERM": "xterm-256color",
                          "COLUMNS": str(SIZE[0]), "LINES": str(SIZE[1])},
    )  # fmt: skip
    os.close(inner)
    reading = threading.Thread(target=drain, args=(end,))
    reading.start()
    try:
        operators(leg.state, 1)
        yield
    finally:
        child.terminate()
        child.wait()
        reading.join()
        os.close(end)
        operators(leg.state, 0)


def drain(end: int) -> None:
    """Read a terminal until its last program has left."""
    try:
        while os.read(end, 65536):
            pass
    except OSError:
        return


def operators(folder: Path, count: int) -> None:
    """Wait until so many operators are attached."""
    transport = httpx.HTTPTransport(uds=str(folder / "control.sock"))
    with (
        httpx.Client(transport=transport, base_url="http://gate", timeout=20) as client,
        client.stream("GET", "/v1/events") as events,  # without the key it is no operator
    ):
        for told in map(json.loads, events.iter_lines()):
            if told.get("state", {}).get("operators") == count:
                return
    raise RuntimeError("the proxy ended")


def paced(crowd: Crowd) -> Iterator[float]:
    """Make calls at CALL_RATE, each waiting for the one before; yield their seconds."""
    pause, begun = threading.Event(), time.perf_counter()
    for number in range(CALLS):
        pause.wait(max(0.0, begun + number / CALL_RATE - time.perf_counter()))
        yield from crowd.run(SHAPE, calls=1).seconds


def latency() -> None:
    seconds: dict[str, list[float]] = {"no console": [], "one console": []}
    with legs((FULL,)) as ways, closing(Crowd(ways[FULL], Http1, 1)) as crowd:
        crowd.run(SHAPE, calls=CALLS)
        for _ in range(ROUNDS):
            seconds["no console"] += list(paced(crowd))
            with console_on(ways[FULL]):
                seconds["one console"] += list(paced(crowd))
    told = {}
    for name, values in seconds.items():
        told[name] = (statistics.median(values), statistics.quantiles(values, n=100)[98])
        print(f"call with {name:<12} p50 {told[name][0] * 1e3:6.2f} ms   "
              f"p99 {told[name][1] * 1e3:6.2f} ms")  # fmt: skip
    p50, p99 = (told["one console"][at] / told["no console"][at] for at in (0, 1))
    print(f"ratio                  p50 {p50:6.2f}      p99 {p99:6.2f}")


def main() -> None:
    if sys.argv[1:2] == ["--watch"]:
        asyncio.run(watch(Path(sys.argv[2]), float(sys.argv[3])))
        return
    os.environ.pop("NO_COLOR", None)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # the reader leaves in the middle
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
        # First: a child begins with its parent's peak of memory.
        asyncio.run(feed_events(Path(folder) / "control.sock", seconds))
    latency()
    asyncio.run(frames())
    memory()


if __name__ == "__main__":
    main()
