"""The kill switch: turned on by an operator, a signal or a file; turned off by an operator only."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from mitmgate.control.models import Row, RowEvent, Switch, SwitchRequest
from mitmgate.judge.halt import CODE, Halt
from mitmgate.record.audit import switch_record
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.peers import Peer
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.views import log_line, switch_of

FILE = "halt"
POLL_SECONDS = 0.5
_TEXT = (
    "mitmgate denies everything. `mitmgate kill --lift` ends that; removing this file does not.\n"
)


class KillSwitch:
    """Turns the halt of a *pipeline* on and off, and tells everybody.

    *folder* is the state folder: the file ``halt`` in it turns the switch on, and stands there for
    as long as it is on, so that a restart does not turn it off. *cut* ends what leads to servers.
    """

    def __init__(self, pipeline: Pipeline, folder: Path, cut: Callable[[], int]) -> None:
        self._pipeline = pipeline
        self._path = folder / FILE
        self._cut = cut
        self._turns = 0

    @property
    def view(self) -> Switch:
        """The switch as it is now."""
        return switch_of(self._pipeline.judge.halt)

    def engage(
        self,
        by: str,
        *,
        reason: str | None = None,
        via: str | None = None,
        peer: Peer | None = None,
    ) -> None:
        """Deny everything from now on; calls that wait are denied, streams end."""
        pipeline = self._pipeline
        if pipeline.judge.halt is not None:
            return
        self._turns += 1
        pipeline.judge.halt = Halt(by, time.time(), reason)
        cut = self._cut()
        released = pipeline.waiting.halt()
        self._mark()
        pipeline.captured_switch(on=True)
        facts = {"by": by, "reason": reason, "via": via or by, "peer": _facts(peer),
                 "released": released, "cut": cut}  # fmt: skip
        pipeline.written(switch_record(on=True, facts=facts, time=time.time()))
        self._show(f"everything is denied from now on{_by(by, reason)}")

    def lift(self, asked: SwitchRequest, by: str, peer: Peer | None) -> None:
        """Let rules decide again; RefusedError where that cannot be made sure or recorded."""
        pipeline = self._pipeline
        if pipeline.judge.halt is None:
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise RefusedError(
                503, "not_lifted", f"{self._path} cannot be removed ({error.strerror}).",
            ) from None  # fmt: skip
        facts = {"by": by, "reason": asked.reason, "via": asked.via, "peer": _facts(peer),
                 "released": 0, "cut": 0}  # fmt: skip
        record = switch_record(on=False, facts=facts, time=time.time())
        if not (pipeline.written(record) and pipeline.captured_switch(on=False)):
            self._mark()
            raise RefusedError(503, "not_recorded", "It could not be recorded, so it stays on.")
        self._turns += 1
        pipeline.judge.halt = None
        self._show(f"the kill switch is off{_by(by, asked.reason)}")

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look for the file now, and again and again for the length of the block."""
        self._look(await asyncio.to_thread(os.path.lexists, self._path))
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            turns = self._turns
            there = await asyncio.to_thread(os.path.lexists, self._path)
            if turns == self._turns:  # else it tells of the time before
                self._look(there)

    def _look(self, there: bool) -> None:
        if there:
            self.engage("file")
        elif self._pipeline.judge.halt is not None:
            self._mark()  # somebody removed it: it would be off after a restart

    def _mark(self) -> None:
        if os.path.lexists(self._path):
            return
        try:
            self._path.write_text(_TEXT, encoding="ascii")
        except OSError as error:
            self._pipeline.say(f"trouble  {self._path} cannot be written ({error.strerror})")

    def _show(self, reason: str) -> None:
        pipeline = self._pipeline
        on = pipeline.judge.halt is not None
        row = Row(
            id=f"{pipeline.next_exchange()}.0", time=time.time(), kind="switch", channel="egress",
            agent="", server=None, host="", endpoint="", method="KILL SWITCH", tool=None,
            verdict="deny" if on else "allow", rule=CODE, code=CODE, reason=reason, enforced=True,
            edits=0, severity="critical" if on else None,
        )  # fmt: skip
        pipeline.hub.rows.append(row)
        pipeline.hub.publish(RowEvent(row=row))
        pipeline.say(log_line(row))


def _by(by: str, reason: str | None) -> str:
    said = f": {reason}" if reason else ""
    who = {"signal": " (a signal)", "file": " (the file halt in the state folder)"}
    return f"{who.get(by, f' (by {by})')}{said}"


def _facts(peer: Peer | None) -> dict[str, Any] | None:
    return None if peer is None else {"uid": peer.uid, "pid": peer.pid}
