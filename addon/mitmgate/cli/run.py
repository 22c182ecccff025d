"""``mitmgate run``: the proxy, and on a terminal the console beside it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.cli.state import POLICY_FILE, policy_in_force, state_dir
from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.serve.launch import Running, Settings


def run(
    policy: Annotated[
        Path | None, typer.Option(help="The policy; else policy.yaml in the state folder.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 picks a free one.")
    ] = "127.0.0.1:8080",
    mode: Annotated[
        str, typer.Option(help="regular, transparent, or reverse:URL, as in mitmproxy.")
    ] = "regular",
    state: Annotated[
        Path | None, typer.Option("--state-dir", help="Where mitmgate keeps its files.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record exchanges here, for replay.")
    ] = None,
    upstream_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More roots to trust upstream (PEM).")
    ] = None,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Log decisions instead of the console.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Judge and record, but stop nothing by rule or scan.")
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
    prints one JSON line on standard output. Ctrl-C ends it.

    \b
    Example: mitmgate run --listen 127.0.0.1:0 --no-console --capture captures/
    """
    from mitmgate.cli.operator import read_key_file
    from mitmgate.serve.launch import Settings

    folder = state_dir(state)
    host, port = parse_listen(listen)
    refuse_open(host, is_open=is_open)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and policy is None:
        from mitmgate.cli.first_run import ask_model_api

        ask_model_api(folder)
    rules, source = policy_in_force(policy, folder)
    settings = Settings(
        policy=rules,
        state=folder,
        host=host,
        port=port,
        mode=mode,
        capture=capture,
        upstream_ca=upstream_ca,
        shadow=shadow,
        options=tuple(options or ()),
    )
    key = read_key_file(operator_key_file) if operator_key_file is not None else None
    use_console = terminal and not no_console
    raise typer.Exit(start(settings, source=source, console=use_console, key=key))


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


def refuse_open(host: str, *, is_open: bool) -> None:
    """Raise ConfigError where *host* is reachable from other machines and nobody said so."""
    if is_open or host in ("localhost", "::1") or host.startswith("127."):
        return
    raise ConfigError(
        Problem(
            f"{host} can be reached from other machines, and no agent credentials are set: "
            "everybody there could use this proxy",
            key="--listen",
            hint="listen on 127.0.0.1, or add --open if that is meant",
        )
    )


def start(settings: Settings, *, source: str, console: bool, key: str | None = None) -> int:
    """Run a proxy until it is told to stop; return the exit code."""
    import uvloop

    from mitmgate.cli.logs import quiet_mitmproxy

    quiet_mitmproxy()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, source=source, console=console, key=key))


async def _serve(settings: Settings, *, source: str, console: bool, key: str | None) -> int:
    from mitmgate.cli.logs import DecisionLog
    from mitmgate.serve.launch import proxy

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    log = DecisionLog(muted=console)
    async with proxy(settings, log=log.line, operator_key=key) as running:
        print(running.ready_line(with_key=key is None and not console), flush=True)
        if settings.shadow or running.pipeline.judge.mode == "shadow":
            log.notice("shadow mode: decisions are recorded, nothing is stopped by rule or scan")
        if sys.stdout.isatty():
            _greet(running, source)
        if console:
            await _with_console(settings, running, stopping, log)
        else:
            await stopping.wait()
    return 0


async def _with_console(
    settings: Settings, running: Running, stopping: asyncio.Event, log: object
) -> None:
    from mitmgate.cli.logs import DecisionLog
    from mitmgate.serve.console import STOP_EVERYTHING, run_console

    console = asyncio.create_task(run_console(settings.state, running.operator_key, "--spawned"))
    stopped = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({console, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if console in done and console.result() != STOP_EVERYTHING:
        if isinstance(log, DecisionLog):
            log.unmute()
        await stopped
    console.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await console
    stopped.cancel()


def _greet(running: Running, source: str) -> None:
    print(f"mitmgate listens on {running.listen}, by {source}.")
    print("Paste into the agent's shell:")
    folder = running.control.parent
    print(f'  export MITMGATE_STATE_DIR="{folder}"')
    print('  eval "$(mitmgate env)"')
    sys.stdout.flush()


__all__ = ["POLICY_FILE", "parse_listen", "run", "start"]
