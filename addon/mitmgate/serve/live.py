"""``replay --live``: the client's side again, through a running proxy, to a recorded server.

A replay in step predicts what each side must get; what differs on the sockets is told.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.inputs import DialInput
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource
from mitmgate.replay.capture import read_capture, read_header
from mitmgate.replay.entries import CaptureLine, InputLine
from mitmgate.replay.files import capture_files
from mitmgate.replay.run import Run
from mitmgate.serve.launch import Running, Settings, proxy
from mitmgate.serve.plans import names_in, plans_of
from mitmgate.serve.playing import Player
from mitmgate.serve.recorded import HERE, RecordedGate, RecordedServer, certificate_for
from mitmgate.serve.replaying import scanner_for
from mitmgate.serve.witness import Witness

_MOST_LINES = 100_000
_MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class Odd:
    """Something that went over the sockets otherwise than it should; ``weaker``: too much did."""

    file: Path
    line: int
    exchange: int
    what: str
    weaker: bool


@dataclass(slots=True)
class Live:
    """What a live replay gave.

    ``played`` counts exchanges, ``skipped`` those that cannot be played, by why. ``odd`` has the
    first thousand differences; ``different`` and ``lowered`` count all, and the weaker ones.
    """

    played: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    odd: list[Odd] = field(default_factory=list)
    different: int = 0
    lowered: int = 0

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 3 weaker."""
        return 3 if self.lowered else 1 if self.different else 0

    def tell(self, odd: Odd) -> None:
        """Count in a difference."""
        self.different += 1
        self.lowered += odd.weaker
        if len(self.odd) < _MOST_TOLD:
            self.odd.append(odd)


def live_files(paths: Sequence[Path], source: PolicySource) -> Live:
    """Play every capture that *paths* name through a proxy with the policy of *source*.

    Nothing is sent to another machine and no name is resolved. ConfigError: a capture or the
    policy cannot be used, or nothing in the captures can be played.
    """
    live, policy = Live(), source.read()[0].policy
    for path in paths:
        for file in capture_files(path):
            asyncio.run(_play(file, source, policy, live))
    if not live.played:
        whys = ", ".join(live.skipped) or "nothing was recorded"
        raise ConfigError(
            Problem(f"nothing can be played: {whys}", file=", ".join(map(str, paths)),
                    hint="replay it without --live")
        )  # fmt: skip
    return live


async def _play(file: Path, source: PolicySource, policy: Policy, live: Live) -> None:
    header = read_header(file)
    scanner = scanner_for(policy, header.canaries)
    lines = _lines(file, read_capture(file, scanner.sample_for))
    plans = plans_of(lines, policy)
    live.skipped.update(plan.skip for plan in plans.values() if plan.skip)
    live.played += sum(not plan.skip for plan in plans.values())
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mg-live-")))
        server = RecordedServer()
        ca, certificate = certificate_for(folder, names_in(lines))
        await stack.enter_async_context(server.serving(certificate))
        settings = Settings(source=source, state=folder / "state", port=0, upstream_ca=ca,
                            shadow=header.shadow)  # fmt: skip
        dialled = {one.input.host: one.input.addresses for one in lines
                   if isinstance(one, InputLine) and isinstance(one.input, DialInput)}  # fmt: skip
        running = await stack.enter_async_context(
            proxy(
                settings,
                log=lambda _: None,
                make_gate=lambda core, _, own: RecordedGate(core, dialled, own, server.ports),
            )
        )
        running.pipeline.judge.scanner = scanner
        witness = Witness(policy, scanner, shadow=header.shadow)
        player = Player(running.pipeline, _door(running), server, witness)
        for odd in await player.play(lines, Run(witness, scanner), plans):
            live.tell(Odd(file, *odd))


def _door(running: Running) -> tuple[tuple[str, int], ssl.SSLContext]:
    """Return where the proxy listens, and what its clients trust."""
    trust = ssl.create_default_context(cafile=str(running.authority.cert_path))
    trust.check_hostname = False  # clients may have shown another name than they asked for
    return (HERE, int(running.listen.rpartition(":")[2])), trust


def _lines(file: Path, read: Iterator[CaptureLine]) -> list[CaptureLine]:
    """Return the lines after the header; ConfigError where there are too many to hold."""
    lines = list(islice(read, _MOST_LINES + 1))
    if len(lines) > _MOST_LINES:
        raise ConfigError(
            Problem(f"has more than {_MOST_LINES} lines", file=str(file),
                    hint="replay it without --live, or play a part of it")
        )  # fmt: skip
    return lines[1:]
