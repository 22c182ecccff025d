"""One proxy from start to end: what to build, in which order to start it, and to stop it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509

from mitmgate import __version__
from mitmgate.ca.authority import Authority, ensure_ca
from mitmgate.ca.storage import private_folder, write_whole
from mitmgate.control.models import State
from mitmgate.errors import ConfigError, Problem
from mitmgate.hold.queue import HoldLimits
from mitmgate.judge.choosing import KEEP_ALL, Keep
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.mitm.core import Core
from mitmgate.mitm.cutting import cut_servers
from mitmgate.mitm.dialling import Resolver
from mitmgate.mitm.gate import Gate
from mitmgate.mitm.master import LeanMaster
from mitmgate.mitm.resolve import resolve
from mitmgate.mitm.upstream import Upstream
from mitmgate.policy.load import Policy
from mitmgate.policy.remembered import Kept
from mitmgate.policy.source import PolicySource
from mitmgate.record.audit import AuditLog, start_record
from mitmgate.scan.engine import Scanner
from mitmgate.serve.api import ControlApi, Past
from mitmgate.serve.books import Books
from mitmgate.serve.captures_api import FOLDER as FIXTURES
from mitmgate.serve.control import ControlServer
from mitmgate.serve.inventory import FILE, kept_inventory
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.reload import Reloader
from mitmgate.serve.remembered import FILE as REMEMBERED
from mitmgate.serve.state import hash_key, locked_state, run_file
from mitmgate.serve.switch import KillSwitch
from mitmgate.serve.views import switch_of
from mitmgate.serve.warming import warming

AUDIT = Path("audit", "audit.jsonl")
"""The audit file, in the state folder."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``run`` was asked for. ``options`` are mitmproxy's own, as NAME=VALUE.

    ``hold`` says how many calls wait, None: as many as by default. ``keep`` says what of the
    traffic the capture has, and for how long.
    """

    source: PolicySource
    state: Path
    host: str = "127.0.0.1"
    port: int = 8080
    mode: str = "regular"
    capture: Path | None = None
    keep: Keep = KEEP_ALL
    upstream_ca: Path | None = None
    upstream: Upstream | None = None
    shadow: bool = False
    trust_reload: bool = False
    http2: bool = False
    options: tuple[str, ...] = ()
    hold: HoldLimits | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A started proxy. ``operator_key`` decides; it is shown or handed on once, never stored."""

    listen: str
    authority: Authority
    control: Path
    policy: str
    operator_key: str
    pipeline: Pipeline
    reloader: Reloader
    switch: KillSwitch

    def ready_line(self, *, with_key: bool) -> str:
        """Return the one JSON line that says that the proxy is ready."""
        line: dict[str, object] = {
            "ready": True,
            "listen": self.listen,
            "ca": str(self.authority.cert_path),
            "control": str(self.control),
            "policy": self.policy,
            "pid": os.getpid(),
        }
        if with_key:
            line["operator_key"] = self.operator_key
        return json.dumps(line)


type GateMaker = Callable[[Core, Resolver, Callable[[], tuple[tuple[str, int], ...]]], Gate]


@asynccontextmanager
async def proxy(
    settings: Settings,
    *,
    log: Callable[[str], None],
    make_gate: GateMaker = Gate,
    operator_key: str | None = None,
) -> AsyncIterator[Running]:
    """Run a proxy for the length of the block; raise ConfigError where it cannot start."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(locked_state(settings.state))
        authority = ensure_ca(folder / "ca")
        audit = open_audit(folder)
        stack.callback(audit.close)
        books = Books(folder)
        canaries = books.stamp()
        settings = replace(settings, source=_kept(settings.source, folder))
        read, files = settings.source.read()
        pipeline = _pipeline(settings, _judge(settings, read.policy, books), audit, stack, log)
        stack.callback(pipeline.close)  # after the proxy: its last hooks still judge and record
        judge = pipeline.judge
        await stack.enter_async_context(_inventory(judge, folder, log))
        master = LeanMaster()
        gate = make_gate(pipeline, resolve, lambda: master.listen_addresses)
        gate.dialling.upstream = settings.upstream
        master.configure(gate, _options(settings, authority), settings.options)
        switch = KillSwitch(pipeline, folder, lambda: cut_servers(master))
        await stack.enter_async_context(switch.watching())  # it may be on already
        await master.start()
        stack.push_async_callback(master.stop)
        listen = _address(master.listen_addresses)
        key = operator_key or secrets.token_urlsafe(24)
        reloader = Reloader(
            judge, books, settings.source, audit, log, settings.trust_reload,
            (*files, *canaries), _read=read)  # fmt: skip
        pipeline.ever.attach(reloader, audit=folder / AUDIT)
        api = ControlApi(
            pipeline, lambda: glance(pipeline, listen, reloader), key, reloader, switch=switch
        )
        api.past = Past(folder / AUDIT, settings.capture, folder / FIXTURES)
        socket = await _serve(api, folder / "control.sock", stack)
        audit.append(start_of(pipeline.judge, listen, time.time()))
        stack.enter_context(run_file(folder, {"listen": listen, "pid": os.getpid()}))
        await stack.enter_async_context(reloader.watching())
        await stack.enter_async_context(warming(judge.scanner))
        hashed = judge.policy.hash
        yield Running(listen, authority, socket, hashed, key, pipeline, reloader, switch)
        pipeline.waiting.close()
        await pipeline.drained()  # the denials of what was held reach their clients


def _inventory(
    judge: Judge, folder: Path, log: Callable[[str], None]
) -> AbstractAsyncContextManager[None]:
    return kept_inventory(
        judge.inventory, path=folder / FILE, policy=judge.policy, scanner=judge.scanner, log=log
    )


async def _serve(api: ControlApi, socket: Path, stack: AsyncExitStack) -> Path:
    """Serve *api* on *socket* until *stack* ends."""
    control = ControlServer(api.app(), socket)
    await control.start()
    stack.push_async_callback(control.stop)
    return socket


def _kept(source: PolicySource, folder: Path) -> PolicySource:
    return replace(source, kept=Kept(folder / REMEMBERED, hash_key(folder)))


def _judge(settings: Settings, policy: Policy, books: Books) -> Judge:
    scanner = Scanner(books.of(policy), hash_key=hash_key(settings.state))
    scanner.warm()
    return Judge(policy, scanner, shadow=settings.shadow)


def _pipeline(
    settings: Settings,
    judge: Judge,
    audit: AuditLog,
    stack: AsyncExitStack,
    log: Callable[[str], None],
) -> Pipeline:
    """Build what *judge* writes to; the capture ends with *stack*."""
    if settings.capture is None:
        return Pipeline(judge, audit, log=log, limits=settings.hold)
    capture = open_recording(
        settings.capture,
        scanner=judge.scanner,
        run=Run(judge.policy.hash, judge.mode, settings.shadow),
        clock=time.time,
        keep=settings.keep,
    )
    capture.outage.warn = log
    stack.callback(capture.close)
    return Pipeline(judge, audit, capture=capture, log=log, limits=settings.hold)


def _options(settings: Settings, authority: Authority) -> dict[str, object]:
    return {
        "listen_host": settings.host,
        "listen_port": settings.port,
        "mode": [settings.mode],
        "http2": settings.http2,
        "confdir": str(authority.folder),
        "ssl_verify_upstream_trusted_ca": str(upstream_roots(settings.upstream_ca, settings.state)),
    }


def start_of(judge: Judge, listen: str, now: float) -> dict[str, Any]:
    """Return the audit record of a start at *now*, in seconds since the epoch."""
    return start_record(
        time=now,
        tool=f"mitmgate {__version__}",
        policy=judge.policy.hash,
        mode=judge.mode,
        listen=listen,
    )


def open_audit(folder: Path) -> AuditLog:
    """Open the audit file in the state folder."""
    private_folder((folder / AUDIT).parent)
    return AuditLog(folder / AUDIT, time=time.time())


def upstream_roots(extra: Path | None, folder: Path) -> Path:
    """Return the file of roots that upstream certificates are checked against."""
    public = Path(certifi.where())
    if extra is None:
        return public
    try:
        more = extra.read_bytes()
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot be read: {error.strerror}",
                file=str(extra),
                key="--upstream-ca",
                hint="give a PEM file of certificates",
            )
        ) from error
    try:
        # A damaged one would refuse every upstream later, and nobody would know why.
        x509.load_pem_x509_certificates(more)
    except ValueError as error:
        raise ConfigError(
            Problem(
                "holds no PEM certificate, or a damaged one",
                file=str(extra),
                key="--upstream-ca",
                hint="give a PEM file of certificates",
            )
        ) from error
    roots = folder / "upstream-roots.pem"
    write_whole(roots, public.read_bytes() + b"\n" + more, mode=0o600)
    return roots


def _address(addresses: tuple[tuple[str, int], ...]) -> str:
    host, port = addresses[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def glance(pipeline: Pipeline, listen: str, reloader: Reloader | None = None) -> State:
    """Return the proxy of *pipeline* at a glance."""
    return State(
        version=__version__,
        listen=listen,
        mode=pipeline.judge.mode,
        policy=pipeline.judge.policy.hash,
        pending=len(pipeline.pending),
        detached=len(pipeline.holding.detached),
        grants=pipeline.holding.remembered,
        operators=pipeline.hub.operators,
        decisions=pipeline.decisions,
        denied=pipeline.denied,
        healthy=pipeline.trouble is None,
        trouble=pipeline.trouble,
        policy_trouble=None if reloader is None else reloader.trouble,
        halt=None if pipeline.judge.halt is None else switch_of(pipeline.judge.halt),
    )
