"""``mitmgate run``: the proxy, and on a terminal the console beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mitmgate.cli.state import POLICY_FILE, policy_source, state_dir
from mitmgate.errors import ConfigError, Problem

type Names = Literal["here", "there"]

if TYPE_CHECKING:
    from mitmgate.cli.logs import DecisionLog
    from mitmgate.judge.choosing import Keep
    from mitmgate.serve.launch import Running, Settings


def run(
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The policy; else policy.yaml in the state folder, else the starter.",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 picks a free one.")
    ] = "127.0.0.1:8080",
    mode: Annotated[
        str,
        typer.Option(metavar="MODE", help="regular, transparent, or reverse:URL, as in mitmproxy."),
    ] = "regular",
    state: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its files."),
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record exchanges here, for replay.")
    ] = None,
    capture_only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS",
            help="Keep only exchanges like these: NAME:GLOB of server, tool, agent, host, method, "
            "rule, code or verdict, !NAME:GLOB for others.",
        ),
    ] = None,
    capture_findings: Annotated[
        bool,
        typer.Option("--capture-findings", help="Keep only exchanges in which something is found."),
    ] = False,
    capture_sample: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Keep this share of all conversations, such as 10%."),
    ] = None,
    capture_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove the oldest of what is kept beyond, say, 256MB."),
    ] = None,
    capture_age: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove what is older than, say, 7d."),
    ] = None,
    upstream_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More roots to trust upstream (PEM).")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Reach servers through this proxy: http(s)://HOST:PORT."),
    ] = None,
    upstream_credentials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file with user:password for that proxy, mode 0600."),
    ] = None,
    upstream_names: Annotated[
        Names,
        typer.Option(
            metavar="here|there",
            help="Who resolves names of servers: this machine, or the proxy, unchecked.",
        ),
    ] = "here",
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Log decisions instead of the console.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Judge and record, but stop nothing by rule or scan.")
    ] = False,
    locked: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rules that nothing can be laxer than; else /etc/mitmgate/locked.yaml.",
        ),
    ] = None,
    trust_reload: Annotated[
        bool,
        typer.Option(
            "--trust-reload", help="Put changed policies in force without an operator's word."
        ),
    ] = False,
    http2: Annotated[
        bool, typer.Option("--http2", help="Speak HTTP/2 with clients; with servers HTTP/1.1.")
    ] = False,
    is_open: Annotated[
        bool, typer.Option("--open", help="Listen beyond loopback without agent credentials.")
    ] = False,
    operator_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the operator key from here.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A mitmproxy option, if it is safe."),
    ] = None,
) -> None:
    """Start the proxy; on a terminal, with the console beside it.

    Without a terminal it logs one line for each decision on standard error. When it is ready it
    prints one JSON line on standard output. Ctrl-C ends it; SIGHUP reads the policy again; SIGUSR1,
    or a file `halt` in the state folder, denies everything until `mitmgate kill --lift`.

    \b
    Example: mitmgate run --listen 127.0.0.1:0 --no-console --capture captures/
    """
    host, port = parse_listen(listen)
    from mitmgate.cli.operator import read_key_file
    from mitmgate.serve.launch import Settings
    from mitmgate.serve.upstream import read_upstream

    folder = state_dir(state)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and policy is None:
        from mitmgate.cli.first_run import ask_model_api

        ask_model_api(folder)
    source = policy_source(policy, folder, locked)
    refuse_open(host, is_open=is_open or source.read()[0].policy.require_agents)
    settings = Settings(
        source=source,
        state=folder,
        host=host,
        port=port,
        mode=mode,
        capture=capture,
        keep=parse_keep(
            capture, capture_only, capture_findings, capture_sample, (capture_size, capture_age)
        ),
        upstream_ca=upstream_ca,
        upstream=read_upstream(upstream, credentials=upstream_credentials, names=upstream_names),
        shadow=shadow,
        trust_reload=trust_reload,
        http2=http2,
        options=tuple(options or ()),
    )
    key = read_key_file(operator_key_file) if operator_key_file is not None else None
    use_console = terminal and not no_console
    raise typer.Exit(start(settings, source=source.name, console=use_console, key=key))


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            Problem(f"not HOST:PORT: {text}", key="--listen", hint="for example 127.0.0.1:8080")
        )
    return host, int(port)


def parse_keep(
    capture: Path | None,
    only: list[str] | None,
    findings: bool,
    sample: str | None,
    bounds: tuple[str | None, str | None],
) -> Keep:
    """Return what is captured; *bounds* are the size and the age. ConfigError without *capture*."""
    from mitmgate.judge.choosing import Keep, parse_choice
    from mitmgate.record.ring import parse_ring

    words = tuple(only or ())
    choice = parse_choice(words, findings=findings, sample=sample, key=os.urandom(16))
    keep = Keep(choice, parse_ring(*bounds))
    if capture is None and keep.words:
        raise ConfigError(
            Problem("nothing is captured", key="--capture", hint="say where with --capture DIR")
        )
    return keep


def refuse_open(host: str, *, is_open: bool) -> None:
    """Raise ConfigError where *host* is reachable from other machines and nobody said so."""
    if is_open or host == "localhost" or _is_loopback(host):
        return
    raise ConfigError(
        Problem(
            f"{host} can be reached from other machines, and agents need no credentials: "
            "everybody there could use this proxy",
            key="--listen",
            hint="set network.require_agents in the policy, listen on 127.0.0.1, or add --open",
        )
    )


def _is_loopback(host: str) -> bool:
    # By its address: the name 127.0.0.1.example.com may mean any machine.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def start(settings: Settings, *, source: str, console: bool, key: str | None = None) -> int:
    """Run a proxy until it is told to stop; return the exit code."""
    import uvloop

    from mitmgate.cli.logs import quiet_mitmproxy
    from mitmgate.mitm.fast import is_on

    quiet_mitmproxy()
    loop = uvloop.new_event_loop if is_on("loop") else None
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_serve(settings, source=source, console=console, key=key))


async def _serve(settings: Settings, *, source: str, console: bool, key: str | None) -> int:
    from mitmgate.cli.logs import DecisionLog
    from mitmgate.mitm.fast import is_on, notices
    from mitmgate.serve.health import captured_by
    from mitmgate.serve.launch import proxy

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    log = DecisionLog(muted=console)
    async with proxy(settings, log=log.line, operator_key=key) as running:
        loop.add_signal_handler(signal.SIGHUP, _reload, running, set())
        loop.add_signal_handler(signal.SIGUSR1, running.switch.engage, "signal")
        for notice in notices():
            log.notice(notice)
        if is_on("freeze"):
            gc.freeze()
        print(running.ready_line(with_key=key is None and not console), flush=True)
        if settings.shadow or running.pipeline.judge.mode == "shadow":
            log.notice("shadow mode: decisions are recorded, nothing is stopped by rule or scan")
        if settings.upstream is not None and settings.upstream.names == "there":
            log.notice("the upstream proxy resolves names: where they lead is not checked here")
        if sys.stdout.isatty():
            _greet(running, source)
        if not console and running.pipeline.judge.policy.unattended == "deny":
            log.notice("nobody watches: calls that need a person are denied at once")
        if console:
            await _with_console(settings, running, stopping, log)
        else:
            await stopping.wait()
    captured = captured_by(running.pipeline._capture)
    if captured is not None and captured.trouble is not None:
        log.notice(f"capture: {captured.trouble}")
    return 0


def _reload(running: Running, reloads: set[asyncio.Task[object]]) -> None:
    task: asyncio.Task[object] = asyncio.ensure_future(running.reloader.reload())
    reloads.add(task)  # the loop keeps only a weak reference
    task.add_done_callback(reloads.discard)


async def _with_console(
    settings: Settings, running: Running, stopping: asyncio.Event, log: DecisionLog
) -> None:
    """Show the console, again and again as long as somebody asks for it.

    Only this process knows the operator key: a console that another shell opens can only watch.
    """
    from mitmgate.serve.console import STOP_EVERYTHING, run_console

    while not stopping.is_set():
        log.mute()
        console = run_console(
            settings.state, running.operator_key, "--spawned", "--welcome", _how_to_connect(running)
        )
        left = await _unless(stopping, console)
        log.unmute()
        if left is None or left == STOP_EVERYTHING:
            return
        if running.pipeline.judge.policy.unattended == "deny":
            log.notice("nobody watches: calls that need a person are denied at once")
        log.notice("Enter opens the console again, Ctrl-C ends the gate")
        await _unless(stopping, _enter_pressed())


async def _unless[T](stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what *work* returns; None where *stopping* came first."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        stopped.cancel()
        return working.result()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return None


async def _enter_pressed() -> None:
    """Wait for a line on the terminal; for ever where the terminal is gone."""
    loop = asyncio.get_running_loop()
    pressed = asyncio.Event()

    def wait() -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the terminal, or the loop, has gone
            if os.read(sys.stdin.fileno(), 4096):
                loop.call_soon_threadsafe(pressed.set)

    # A thread, because the event loop would set the terminal, which others share, to non-blocking.
    # It reads past Python's buffer, whose lock would be asked for when the process ends.
    threading.Thread(target=wait, daemon=True).start()
    await pressed.wait()


def _greet(running: Running, source: str) -> None:
    print(f"\nmitmgate listens on {running.listen}, by {source}.")
    print(_how_to_connect(running), flush=True)


def _how_to_connect(running: Running) -> str:
    folder = shlex.quote(str(running.control.parent))
    return (
        "Paste into the agent's shell:\n"
        f"  export MITMGATE_STATE_DIR={folder}\n"
        f'  eval "$({own_command()} env)"'
    )


def own_command() -> str:
    """Return how another shell calls this installation: after `make run` it is on no PATH."""
    script = Path(sys.executable).with_name("mitmgate")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m mitmgate"
    found = shutil.which("mitmgate")
    return "mitmgate" if found and Path(found).samefile(script) else shlex.quote(str(script))


__all__ = ["POLICY_FILE", "parse_listen", "run", "start"]
