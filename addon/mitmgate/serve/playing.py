"""Plays the exchanges of a capture one line at a time, and compares what the sockets gave."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    RequestInput,
)
from mitmgate.policy.verdict import Verdict
from mitmgate.replay.entries import CaptureLine, InputLine
from mitmgate.replay.run import Judged, Run
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.plans import Plan
from mitmgate.serve.recorded import Arrival, RecordedServer
from mitmgate.serve.visits import UnplayableError, Visit
from mitmgate.serve.waiting import Given
from mitmgate.serve.witness import Seen, Witness, block_of, here, told
from mitmgate.wire.http import AnswerHead

SECONDS = 10.0
MOST_LATE = 10
_QUIET = 3600.0
_REFUSED = AnswerHead(502)

type Told = tuple[int, int, str, bool]
"""Line and exchange of a difference, what it is, and whether it is weaker."""


@dataclass(slots=True)
class _Playing:
    """An exchange that is being played; ``sent`` is its request, ``request`` what it comes to.

    ``again``: the question about its server was answered, and it was judged again.
    """

    number: int
    line: int
    plan: Plan
    sent: RequestInput
    visit: Visit
    request: Seen | None = None
    dial: Seen | None = None
    arrival: Arrival | None = None
    begun: bool = False
    again: bool = False
    unsent: bool = False


class Player:
    """Plays one capture; *door* is where the proxy listens, and what its clients trust."""

    def __init__(
        self,
        pipeline: Pipeline,
        door: tuple[tuple[str, int], ssl.SSLContext],
        server: RecordedServer,
        witness: Witness,
    ) -> None:
        self._pipeline = pipeline
        self._door = door
        self._server = server
        self._witness = witness
        self._playing: dict[int, _Playing] = {}
        self._answers: deque[Literal["allow", "deny"]] = deque()
        self._otherwise: Literal["allow", "deny"] = "deny"
        self._said: Literal["allow", "deny"] = "deny"
        self._told: list[Told] = []
        self._late = 0

    async def play(
        self, lines: Sequence[CaptureLine], run: Run, plans: Mapping[int, Plan]
    ) -> list[Told]:
        """Play *lines* in their order; return what differs."""
        operator = asyncio.create_task(self._operate())
        try:
            for index, line in enumerate(lines):
                number = getattr(line, "exchange", None)
                plan = plans.get(number) if number is not None else None
                if plan is None or plan.skip is not None:
                    continue
                if isinstance(line, InputLine):
                    await self._input(replace(line, at=time.time(), input=here(line.input)),
                                      run, plan)  # fmt: skip
                else:
                    run.take(line)
                if plan.ready == index and line.exchange in self._playing:  # type: ignore[union-attr]
                    await self._arrive(self._playing[line.exchange])  # type: ignore[union-attr]
        finally:
            operator.cancel()
            with suppress(asyncio.CancelledError):
                await operator
            for playing in list(self._playing.values()):
                with suppress(ConfigError):
                    await self._leave(playing)
        return self._told

    async def _operate(self) -> None:
        """Answer each held call as it was answered then."""
        with self._pipeline.hub.attached(operator=True) as reader:
            while True:
                for text in (await reader.next_batch(timeout=_QUIET)).splitlines():
                    event = json.loads(text)
                    if event.get("type") == "held":
                        answer = self._answers.popleft() if self._answers else self._otherwise
                        given = Given(answer, "api", operator="replay")
                        self._pipeline.answer(event["pending"]["id"], given)

    async def _input(self, line: InputLine, run: Run, plan: Plan) -> None:
        playing = self._playing.get(line.exchange)
        if isinstance(line.input, EndInput) and playing is not None:
            await self._leave(playing)
        if playing is not None and playing.again and isinstance(line.input, RequestInput):
            return  # it was judged again at once
        self._answers, self._otherwise = plan.answers, "allow" if plan.answered else "deny"
        self._said = self._answers[0] if self._answers else self._otherwise
        judged, seen = self._take(run, line)
        if judged is None or judged.superseded:
            return
        again = playing is None and seen is not None and self._asks_of_server(seen)
        if again and seen is not None:
            self._witness.apply_resolution(seen.outcome, "allow")
            seen = self._take(run, line)[1]
        if playing is not None:
            await self._goes_on(line, playing, seen)
        elif isinstance(line.input, ConnectInput):
            await self._connect(line, line.input, seen)
        elif isinstance(line.input, RequestInput):
            await self._send(line, line.input, plan, seen)
            self._playing[line.exchange].again = again

    async def _goes_on(self, line: InputLine, playing: _Playing, seen: Seen | None) -> None:
        match line.input:
            case RequestInput():
                playing.request = seen
            case DialInput():
                playing.dial = seen
            case AnswerInput():
                await self._answer(line, line.input, playing, seen)
            case EventInput():
                await self._event(line, line.input, playing, seen)
            case _:
                pass

    def _take(self, run: Run, line: InputLine) -> tuple[Judged | None, Seen | None]:
        self._witness.seen = None
        return run.take(line), self._witness.seen

    def _asks_of_server(self, seen: Seen) -> bool:
        """Tell whether *seen* is a question about a server, of which the answer is yes."""
        asks = seen.outcome.effective is Verdict.ASK and seen.outcome.question is not None
        return asks and self._said == "allow"

    # The request

    async def _connect(self, line: InputLine, given: ConnectInput, seen: Seen | None) -> None:
        visit = Visit(*self._door)
        try:
            async with asyncio.timeout(SECONDS):
                status = await visit.tunnel(given.authority)
        except (UnplayableError, TimeoutError, OSError, ValueError):
            status = 0
        finally:
            await visit.close()
        opens = seen is None or seen.outcome.effective is Verdict.ALLOW
        if opens != (status == 200):
            what = "a tunnel that is denied was opened" if not opens else (
                f"a tunnel that is allowed was refused ({status})"
            )  # fmt: skip
            self._tell(line, what, weaker=not opens)

    async def _send(
        self, line: InputLine, given: RequestInput, plan: Plan, seen: Seen | None
    ) -> None:
        visit = Visit(*self._door)
        playing = _Playing(line.exchange, line.line, plan, given, visit, request=seen)
        self._playing[line.exchange] = playing
        try:
            async with asyncio.timeout(SECONDS):
                await visit.send(given)
        except (UnplayableError, TimeoutError, OSError, ValueError) as error:
            self._tell(line, f"cannot be sent: {type(error).__name__}")
            playing.unsent = True

    async def _arrive(self, playing: _Playing) -> None:
        """Wait until the request is at the server, or its client has an answer."""
        if playing.unsent:
            return
        arriving = asyncio.ensure_future(self._server.arrivals.get())
        done = asyncio.ensure_future(playing.visit.done.wait())
        await asyncio.wait({arriving, done}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not arriving.done() and not done.done():
            self._waited()
        done.cancel()
        if arriving.done():
            playing.arrival = arriving.result()
        else:
            arriving.cancel()
        passes, stopped = self._passes(playing)
        if playing.arrival is None:
            if passes:
                status = playing.visit.status
                self._tell(playing, f"a request that passes never reached the server ({status})")
            elif stopped is not None and stopped.outcome.effective is Verdict.DENY:
                self._compare_reply(playing, stopped)
        elif not passes:
            self._tell(playing, "a request that is stopped reached the server", weaker=True)
            await self._refuse(playing.arrival)
            playing.arrival = None
        elif playing.request is not None:
            self._compare_request(playing, playing.arrival, playing.request)

    def _passes(self, playing: _Playing) -> tuple[bool, Seen | None]:
        """Tell whether the request must reach the server, and what stopped it where it must not."""
        for seen in (playing.dial, playing.request):
            if seen is None:
                continue
            effective = seen.outcome.effective
            if effective is Verdict.DENY and seen.instead is None:
                return False, seen
            if effective is Verdict.ASK and not playing.plan.answered:
                return False, seen
        return True, None

    def _compare_request(self, playing: _Playing, got: Arrival, seen: Seen) -> None:
        sent, judge = playing.sent, self._witness
        text = seen.instead if seen.instead is not None else (
            judge.edited(seen.outcome, seen.prepared)
        )  # fmt: skip
        body = sent.body if text is None else text.encode()
        if (got.method, got.target) != (sent.head.method, sent.head.target):
            self._tell(playing, "the server got another method or target")
        if got.body != body:
            self._tell(playing, "the server got another body", weaker=text is not None)
        mirrored = {name: value for name, value in sent.head.headers if name.startswith("mcp-")}
        if text is not None:
            mirrored |= judge.mirrors(seen.prepared, text)
        came = dict(got.headers)
        if {name: came.get(name) for name in mirrored} != mirrored:
            self._tell(playing, "the server got other headers of MCP")

    # The answer

    async def _answer(
        self, line: InputLine, given: AnswerInput, playing: _Playing, seen: Seen | None
    ) -> None:
        arrival, visit = playing.arrival, playing.visit
        if arrival is None:
            return
        with suppress(OSError):
            await arrival.begin(given.head, length=len(given.body))
            if playing.sent.head.method != "HEAD":
                await arrival.more(given.body)
            await arrival.close()
        await self._ended(visit)
        if seen is not None and self._stops(seen):
            if visit.body == given.body and given.body:
                self._tell(line, "an answer that is stopped reached the client", weaker=True)
            elif seen.outcome.effective is Verdict.DENY:
                self._compare_reply(playing, seen)
            return
        text = None if seen is None else self._witness.edited(seen.outcome, seen.prepared)
        body = given.body if text is None else text.encode()
        if (visit.status, bytes(visit.body)) != (given.head.status, body):
            what = f"the client got another answer ({visit.status}, {len(visit.body)} bytes)"
            self._tell(line, what, weaker=text is not None)

    async def _event(
        self, line: InputLine, given: EventInput, playing: _Playing, seen: Seen | None
    ) -> None:
        arrival, visit = playing.arrival, playing.visit
        if arrival is None:
            return
        before = len(visit.texts)
        with suppress(OSError):
            if not playing.begun:
                await arrival.begin(given.head, length=None)
            playing.begun = True
            await arrival.more(block_of(given))
        if seen is not None and self._stops(seen):
            if given.data in visit.texts[before:]:
                self._tell(line, "an event that is stopped reached the client", weaker=True)
            return
        text = None if seen is None else self._witness.edited(seen.outcome, seen.prepared)
        if not given.event:
            return  # notes alone: no client reads them
        wanted, came = given.data if text is None else text, None
        try:
            async with asyncio.timeout(SECONDS):
                came = await visit.got({wanted, given.data}, after=before)
        except TimeoutError:
            self._waited()
        if came != wanted:
            self._tell(line, "the client got another event, or none", weaker=came is not None)

    def _stops(self, seen: Seen) -> bool:
        if seen.outcome.effective is Verdict.ASK:
            return self._said == "deny"
        return seen.outcome.effective is Verdict.DENY

    def _compare_reply(self, playing: _Playing, seen: Seen) -> None:
        reply, visit = self._witness.reply_to(seen), playing.visit
        if visit.status != reply.status or told(bytes(visit.body)) != told(reply.body):
            what = f"the client was told otherwise of a denial ({visit.status}, not {reply.status})"
            self._tell(playing, what)

    async def _leave(self, playing: _Playing) -> None:
        self._playing.pop(playing.number, None)
        if playing.arrival is not None:
            with suppress(OSError):
                await playing.arrival.close()
            if playing.begun:
                await self._ended(playing.visit)
        await playing.visit.close()

    async def _ended(self, visit: Visit) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await visit.done.wait()
        except TimeoutError:
            self._waited()

    def _waited(self) -> None:
        """Count a wait in vain; ConfigError after too many: each takes its time."""
        self._late += 1
        if self._late > MOST_LATE:
            raise ConfigError(
                Problem(f"{MOST_LATE} times nothing came for {SECONDS:g} s; given up",
                        key="--live", hint="replay the capture without --live")
            )  # fmt: skip

    async def _refuse(self, arrival: Arrival) -> None:
        with suppress(OSError):
            await arrival.begin(_REFUSED, length=0)
            await arrival.close()

    def _tell(self, place: InputLine | _Playing, what: str, *, weaker: bool = False) -> None:
        number = place.exchange if isinstance(place, InputLine) else place.number
        self._told.append((place.line, number, what, weaker))
