"""Plays the exchanges of a capture one line at a time, and compares what the sockets gave."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from mitmgate.judge.channels import ENDS_STREAM
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    RequestInput,
)
from mitmgate.policy.verdict import Verdict
from mitmgate.replay.entries import CaptureLine, InputLine, PolicyLine, ResolutionLine
from mitmgate.replay.run import Judged, Run
from mitmgate.serve.comparing import REACHED, Differences, Playing, Told
from mitmgate.serve.hearing import Client, in_tunnel, is_it, spilled
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.plans import Plan
from mitmgate.serve.recorded import Arrival, RecordedServer, UnanswerableError
from mitmgate.serve.visits import UnplayableError
from mitmgate.serve.waiting import Given
from mitmgate.serve.witness import Seen, Witness, block_of, here

SECONDS = 10.0
MOST_LATE = 10
_QUIET = 3600.0
_MOST_STOPPED = 100  # requests that may come late
_TURNS = 20  # of the loop, for what is on its way to the server still
LEAKED = "an event that is stopped reached the client"
UNSENDABLE = "it cannot be sent in HTTP/1.1 as it was"

type Answer = Literal["allow", "deny"]


class _GaveUpError(Exception):
    """Too often nothing came."""


class Player:
    """Plays one capture; *door* is where the proxy listens, and what its clients trust.

    ``unplayed`` counts what could not be sent after all, by why.
    """

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
        self._playing: dict[int, Playing] = {}
        self._stopped: deque[Playing] = deque(maxlen=_MOST_STOPPED)
        self._answers: deque[Answer] = deque()
        self._otherwise: Answer = "deny"
        self._said: Answer = "deny"
        self._given: dict[tuple[int, int], Answer] = {}
        self._answered = asyncio.Event()
        self._odd = Differences(witness)
        self._late = 0
        self.unplayed: Counter[str] = Counter()

    async def play(
        self, lines: Sequence[CaptureLine], run: Run, plans: Mapping[int, Plan]
    ) -> list[Told]:
        """Play *lines* in their order; return what differs."""
        self._given = {(one.exchange, one.message): one.answer
                       for one in lines if isinstance(one, ResolutionLine)}  # fmt: skip
        operator = asyncio.create_task(self._operate())
        line: CaptureLine | None = None
        try:
            for index, line in enumerate(lines):
                await self._line(index, line, run, plans)
        except _GaveUpError:
            what = f"{MOST_LATE} times nothing came for {SECONDS:g} s; the rest was not played"
            self._odd.told.append((*_place(line), what, False))
        finally:
            operator.cancel()
            with suppress(asyncio.CancelledError):
                await operator
            for playing in list(self._playing.values()):
                with suppress(_GaveUpError):
                    await self._leave(playing)
            await self._strays()
        return self._odd.told

    async def _line(
        self, index: int, line: CaptureLine, run: Run, plans: Mapping[int, Plan]
    ) -> None:
        if isinstance(line, PolicyLine):
            run.take(line)
        number = getattr(line, "exchange", None)
        plan = plans.get(number) if number is not None else None
        if number is None or plan is None or plan.skip is not None:
            return
        if isinstance(line, InputLine):
            now = line._replace(at=time.time(), input=in_tunnel(here(line.input)))
            await self._input(now, run, plan)
        else:
            run.take(line)
        if plan.ready == index and number in self._playing:
            await self._arrive(self._playing[number])

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
                        self._answered.set()

    async def _input(self, line: InputLine, run: Run, plan: Plan) -> None:
        playing = self._playing.get(line.exchange)
        if isinstance(line.input, EndInput) and playing is not None:
            await self._leave(playing)
        if playing is not None and playing.again and isinstance(line.input, RequestInput):
            return  # it was judged again at once
        self._otherwise = "allow" if plan.answered else "deny"
        self._answered.clear()
        self._answers = plan.answers  # of a request: first for its server, then for itself
        if not isinstance(line.input, RequestInput):
            given = self._given.get((line.exchange, line.message))
            self._answers = deque([] if given is None else [given])
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

    async def _goes_on(self, line: InputLine, playing: Playing, seen: Seen | None) -> None:
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
        visit = Client(*self._door)
        try:
            async with asyncio.timeout(SECONDS):
                status = await visit.tunnel(given.authority)
        except UnplayableError:
            self.unplayed[UNSENDABLE] += 1
            return
        except (TimeoutError, OSError, ValueError):
            status = 0
        finally:
            await visit.close()
        opens = seen is None or seen.outcome.effective is Verdict.ALLOW
        if opens != (status == 200):
            what = "a tunnel that is denied was opened" if not opens else (
                f"a tunnel that is allowed was refused ({status})"
            )  # fmt: skip
            self._odd.tell(line, what, weaker=not opens)

    async def _send(
        self, line: InputLine, given: RequestInput, plan: Plan, seen: Seen | None
    ) -> None:
        visit = Client(*self._door)
        self._server.expect(line.exchange)
        playing = Playing(line.exchange, line.line, plan, given, visit, request=seen)
        self._playing[line.exchange] = playing
        try:
            async with asyncio.timeout(SECONDS):
                await visit.send(given)
        except UnplayableError:
            self.unplayed[UNSENDABLE] += 1
            playing.unsent = True
        except (TimeoutError, OSError, ValueError) as error:
            self._odd.tell(line, f"cannot be sent: {type(error).__name__}")
            playing.unsent = True

    async def _arrive(self, playing: Playing) -> None:
        """Wait until the request is at the server, or its client has an answer."""
        if playing.unsent:
            return
        while await self._arrival(playing) and self._is_stray(playing.arrival):
            playing.arrival = None
        if self._odd.arrived(playing, dialled=self._server.connected):
            self._stopped.append(playing)

    async def _arrival(self, playing: Playing) -> bool:
        """Wait once; tell whether anything came to the server."""
        arriving = asyncio.ensure_future(self._server.arrivals.get())
        done = asyncio.ensure_future(playing.visit.done.wait())
        await asyncio.wait({arriving, done}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if arriving.done():
            playing.arrival = arriving.result()
        elif not done.done():
            self._waited()
        arriving.cancel()
        done.cancel()
        return playing.arrival is not None

    def _is_stray(self, arrival: Arrival | None) -> bool:
        """Tell of a request that was stopped and comes all the same, late."""
        for playing in self._stopped if arrival is not None else ():
            head, body = playing.sent.head, playing.sent.body
            if arrival and (arrival.method, arrival.target, arrival.body) == (
                head.method, head.target, body
            ):  # fmt: skip
                arrival.drop()
                self._stopped.remove(playing)
                self._odd.tell(playing, REACHED, weaker=True)
                return True
        return False

    async def _strays(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while not self._server.arrivals.empty():
            self._is_stray(self._server.arrivals.get_nowait())

    # The answer

    async def _answer(
        self, line: InputLine, given: AnswerInput, playing: Playing, seen: Seen | None
    ) -> None:
        arrival, visit = playing.arrival, playing.visit
        if arrival is None:
            return
        try:
            await arrival.answer(given.head, given.body)
        except UnanswerableError:
            self.unplayed[UNSENDABLE] += 1
            playing.arrival = None
            return
        await self._ended(visit)
        if seen is not None and self._stops(seen):
            reply = self._odd.denial_of(seen)
            if spilled(given, visit, b"" if reply is None else reply.body):
                what = "an answer that is stopped reached the client"
                self._odd.tell(line, what, weaker=True)
            elif reply is not None:
                self._odd.compare_reply(playing, seen)
            return
        text = None if seen is None else self._witness.edited(seen.outcome, seen.prepared)
        body = given.body if text is None else text.encode()
        if (visit.status, bytes(visit.body)) != (given.head.status, body):
            what = f"the client got another answer ({visit.status}, {len(visit.body)} bytes)"
            self._odd.tell(line, what, weaker=text is not None)

    async def _event(
        self, line: InputLine, given: EventInput, playing: Playing, seen: Seen | None
    ) -> None:
        arrival, visit = playing.arrival, playing.visit
        if arrival is None:
            return
        before = len(visit.texts)
        try:
            with suppress(OSError):
                if not playing.begun:
                    await arrival.begin(given.head, length=None)
                playing.begun = True
                await arrival.more(block_of(given))
        except UnanswerableError:
            self.unplayed[UNSENDABLE] += 1
            playing.arrival = None
            return
        if seen is not None and self._stops(seen):
            instead = None if seen.outcome.code in ENDS_STREAM else seen.instead
            playing.stream.stops(given, instead)
            if seen.outcome.effective is Verdict.ASK:
                await self._decided(visit)
            elif instead is not None and await self._hears(visit, is_it(instead), before) is None:
                self._odd.tell(line, "the client was not told of an event that is stopped")
            return
        text = None if seen is None else self._witness.edited(seen.outcome, seen.prepared)
        playing.stream.passes(given, text)
        if not given.event:
            return  # notes alone: no client reads them
        wanted = given.data if text is None else text
        like = None if text is None else given.data
        came = await self._hears(visit, is_it(wanted, like=like), before)
        if came != wanted:
            weaker = text is not None and came is not None
            self._odd.tell(line, "the client got another event, or none", weaker=weaker)
            playing.stream.known = playing.stream.known or weaker

    async def _hears(self, visit: Client, fits: Callable[[str], bool], after: int) -> str | None:
        try:
            async with self._patience():
                return await visit.heard(fits, after=after)
        except TimeoutError:
            self._waited()
            return None

    async def _decided(self, visit: Client) -> None:
        """Wait until the operator answered what is held, before another answer is laid out."""
        waits = [asyncio.ensure_future(one.wait()) for one in (self._answered, visit.done)]
        try:
            async with self._patience():
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            self._waited()
        finally:
            for wait in waits:
                wait.cancel()

    def _stops(self, seen: Seen) -> bool:
        if seen.outcome.effective is Verdict.ASK:
            return self._said == "deny"
        return seen.outcome.effective is Verdict.DENY

    async def _leave(self, playing: Playing) -> None:
        self._playing.pop(playing.number, None)
        if playing.arrival is not None:
            with suppress(OSError, UnanswerableError):
                await playing.arrival.close()
        try:
            if playing.arrival is not None and playing.begun:
                await self._ended(playing.visit)
        finally:
            if playing.stream.came_through(playing.visit):
                self._odd.tell(playing, LEAKED, weaker=True)
            await playing.visit.close()

    async def _ended(self, visit: Client) -> None:
        try:
            async with self._patience():
                await visit.done.wait()
        except TimeoutError:
            self._waited()

    def _patience(self) -> asyncio.Timeout:
        return asyncio.timeout(SECONDS if self._late < MOST_LATE else 0)

    def _waited(self) -> None:
        """Count a wait in vain; give up after too many: each takes its time."""
        self._late += 1
        if self._late >= MOST_LATE:
            raise _GaveUpError


def _place(line: CaptureLine | None) -> tuple[int, int]:
    return getattr(line, "line", 0), getattr(line, "exchange", 0)
