"""``replay --live``: the client's side again, through a running proxy, to a recorded server.

A replay in step predicts what each side must get; what differs on the sockets is told.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.inputs import DialInput
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource
from mitmgate.replay.capture import read_header
from mitmgate.replay.entries import CaptureLine, InputLine
from mitmgate.replay.files import capture_files
from mitmgate.replay.run import Run
from mitmgate.serve.comparing import Told
from mitmgate.serve.launch import Running, Settings, proxy
from mitmgate.serve.plans import names_in, plans_of
from mitmgate.serve.playing import Player
from mitmgate.serve.recorded import HERE, Dials, RecordedGate, RecordedServer, certificate_for
from mitmgate.serve.replaying import look_for, read_lines_for, renamed, scanner_for
from mitmgate.serve.witness import Witness

_MOST_LINES = 100_000
_MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class Odd:
    """Something that went over the sockets otherwise than it should; ``weaker``: too much did.

    ``line`` is 0 where ``file`` is no capture, but what one was made of.
    """

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


def live_files(paths: Sequence[Path] | Mapping[Path, Path], source: PolicySource) -> Live:
    """Play every capture that *paths* name through a proxy with the policy of *source*.

    Of a mapping the values are the files that its captures were made of: these are named in all
    that is told. Nothing is sent to another machine and no name is resolved. ConfigError: a capture
    or the policy cannot be used, or nothing in the captures can be played.
    """
    live, policy = Live(), source.read()[0].policy
    named = paths if isinstance(paths, Mapping) else {}
    for file in dict.fromkeys(file for path in paths for file in capture_files(path)):
        try:
            found = asyncio.run(_play(file, source, policy, live))
        except ConfigError as error:
            raise renamed(error, file, named.get(file, file)) from None
        shown = named.get(file, file)
        for line, exchange, what, weaker in found:
            live.tell(Odd(shown, line if shown == file else 0, exchange, what, weaker))
    if not live.played:
        whys = ", ".join(live.skipped) or "nothing was recorded"
        files = ", ".join(str(named.get(path, path)) for path in paths)
        raise ConfigError(
            Problem(f"nothing can be played: {whys}", file=files, hint="replay it without --live")
        )
    return live


async def _play(file: Path, source: PolicySource, policy: Policy, live: Live) -> list[Told]:
    """Play one capture and count what was played; return what differs."""
    header = read_header(file)
    scanner = scanner_for(policy, header.canaries)  # one of its own: reading ends with the last
    lines = _lines(file, read_lines_for(file, policy))
    plans = plans_of(lines, policy)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mg-live-")))
        server = RecordedServer(_dials(lines))
        ca, certificate = certificate_for(folder, names_in(lines))
        await stack.enter_async_context(server.serving(certificate))
        settings = Settings(source=source, state=folder / "state", port=0, upstream_ca=ca,
                            shadow=header.shadow)  # fmt: skip
        running = await stack.enter_async_context(
            proxy(
                settings,
                log=lambda _: None,
                make_gate=lambda core, _, own: RecordedGate(core, own, server),
            )
        )
        running.pipeline.judge.scanner = scanner
        witness = Witness(policy, scanner, shadow=header.shadow)
        player = Player(running.pipeline, _door(running), server, witness)
        run = Run(witness, scanner, lambda canaries: look_for(scanner, policy, canaries))
        told = await player.play(lines, run, plans)
    skipped = Counter(plan.skip for plan in plans.values() if plan.skip) + player.unplayed
    live.skipped += skipped
    live.played += len(plans) - skipped.total()
    return told


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


def _dials(lines: Sequence[CaptureLine]) -> Dials:
    dials: dict[int, dict[str, tuple[str, ...]]] = {}
    for line in lines:
        if isinstance(line, InputLine) and isinstance(line.input, DialInput):
            found = dials.setdefault(line.exchange, {})
            found.setdefault(line.input.host, line.input.addresses)
    return dials
