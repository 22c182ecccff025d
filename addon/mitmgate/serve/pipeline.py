"""From an input to what is done about it: judge, record, show, hold, and only then release.

No byte is released before its decision stands in the audit file; when that cannot be written,
nothing is released at all.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from mitmgate.control.models import Completed, CompletedEvent, Pending, RowEvent
from mitmgate.hold.queue import HoldLimits
from mitmgate.judge.fingerprint import digest_of, is_long
from mitmgate.judge.halt import DENIED
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.judge.judge import Judge, Prepared
from mitmgate.judge.outcome import Completion, Kind, Outcome, Subject
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.records import completion_record, outcome_record
from mitmgate.judge.replies import withheld
from mitmgate.mitm.core import INLINE_BYTES, Judged, Ruling
from mitmgate.policy.verdict import Verdict
from mitmgate.record.ours import paths_of
from mitmgate.serve.clocks import lasting
from mitmgate.serve.ever import Ever
from mitmgate.serve.exhibits import Exhibits
from mitmgate.serve.given import is_an_answer
from mitmgate.serve.health import Hits, Times
from mitmgate.serve.holding import Holding
from mitmgate.serve.hub import Hub
from mitmgate.serve.ledger import Capturer as Answers
from mitmgate.serve.ledger import Outlets
from mitmgate.serve.views import log_line, row_of
from mitmgate.serve.waiting import Given, Visit, Waiting
from mitmgate.serve.wording import detail_of_hold, withheld_of

_TURNS = 20  # of the loop: each of mitmproxy's hooks on the way to the client takes one
_PAUSE = 0.01  # seconds, while the capture is written
_NO_BODY = (ConnectInput, DialInput, EndInput)


class Recorder(Protocol):
    """Writes one record durably before it returns, or raises OSError."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Write *record*."""


class Capturer(Answers, Protocol):
    """Takes what was judged for the capture without waiting; False when it will not be written."""

    def input(self, given: Input, *, now: float) -> bool:
        """Take an input that is concluded at *now*, in the order in which inputs are."""

    def outcome(self, outcome: Outcome) -> bool:
        """Take what was concluded on the last input of its exchange."""

    def switch(self, *, on: bool) -> bool:
        """Take in that the kill switch was turned."""

    @property
    def crowded(self) -> bool:
        """Whether more waits to be written than should."""


class Pipeline:
    """Runs every input of a proxy through the one judge; belongs to one event loop."""

    def __init__(
        self,
        judge: Judge,
        audit: Recorder,
        *,
        capture: Capturer | None = None,
        log: Callable[[str], None] | None = None,
        limits: HoldLimits | None = None,
    ) -> None:
        self.judge = judge
        self.hub = Hub()
        outlets = Outlets(self.written, self.hub, capture, log)
        self.holding = Holding(judge, outlets, limits=limits)
        self.ever = Ever(judge, self.holding, outlets)
        self.decisions = 0
        self.denied = 0
        self.verdicts = dict.fromkeys(Verdict, 0)
        self.trouble: str | None = None
        self.times, self.hits, self.exhibits = Times(), Hits(), Exhibits()
        self._audit = audit
        self._run = secrets.token_hex(3)
        self._exchanges = 0
        self._capture = capture
        self._in_force: tuple[object, object] = None, None
        self._log = log
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="mitmgate-prepare")
        self._asking = 0
        self._nobody_asks = asyncio.Event()
        self._nobody_asks.set()

    @property
    def waiting(self) -> Waiting:
        """The calls that wait, as coroutines."""
        return self.holding.waiting

    @property
    def pending(self) -> dict[str, Pending]:
        """What waits, as it is shown, by id."""
        return self.holding.pending

    async def caught_up(self) -> None:
        """Give other work its turn, and the capture's writer time where much waits for it."""
        await asyncio.sleep(0)
        while self._capture is not None and self._capture.crowded:  # noqa: ASYNC110 - a thread
            await asyncio.sleep(_PAUSE)

    async def decide(self, given: Input, *, connection: str) -> Ruling | None:
        """Judge *given* and wait for a person where it takes one; None: it simply passes."""
        started: float | None = time.perf_counter()
        with self.waiting.visit(connection) as visit:
            while True:
                judged = self._conclude(given, await self._prepare(given))
                if started is not None and isinstance(given, RequestInput):
                    self.times.called(started, time.perf_counter())
                    started = None
                if judged is None:
                    return None
                ruling, again = await self._settled(judged, visit)
                if not again:
                    return self._unless_halted(judged, ruling)

    async def _prepare(self, given: Input) -> Prepared:
        plan, started = self.judge.plan(given), time.perf_counter()
        if _size(given) <= INLINE_BYTES:
            prepared = plan()
        else:
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(self._threads, lambda: _digested(plan()))
        self.times.prepare.add(time.perf_counter() - started)
        return prepared

    async def judged(self, given: Input) -> Judged | None:
        """Judge *given*, a large one in a thread, and wait for nobody."""
        return self._conclude(given, await self._prepare(given))

    def judge_now(self, given: Input) -> Judged | None:
        """Judge *given* without waiting for anything: for stream events."""
        return self._conclude(given, self.judge.plan(given)())

    async def settle(self, judged: Judged, *, connection: str) -> Ruling:
        """Turn a judged input into a ruling, waiting for a person where it takes one."""
        with self.waiting.visit(connection) as visit:
            return self._unless_halted(judged, (await self._settled(judged, visit))[0])

    async def _settled(self, judged: Judged, visit: Visit) -> tuple[Ruling, bool]:
        """Return the ruling on *judged*, and whether it has to be judged again first.

        That is so where the question was about the server, and where a remembered answer or a new
        policy let it go.
        """
        outcome = judged.outcome
        if outcome.effective is Verdict.ALLOW:
            return await self._let_go(judged), False
        if outcome.effective is not Verdict.ASK:
            return self.rule_now(judged), False
        with self._asked():
            resolution = await self.holding.ask(judged, visit)
        self.times.hold.add(resolution.waited)
        if is_an_answer(outcome, resolution):
            self.judge.apply_resolution(outcome, resolution.answer)
        if resolution.answer == "allow":
            asked_first = outcome.question is not None and outcome.enforced
            again = asked_first or resolution.via in ("remembered", "policy")
            return await self._let_go(judged), again
        self.denied += 1
        detail = detail_of_hold(judged, resolution, kept=self.holding.is_kept(outcome.id))
        return self._stopped(judged, detail), False

    def _unless_halted(self, judged: Judged, ruling: Ruling) -> Ruling:
        """Return *ruling*, or a denial: the kill switch may have come while somebody waited."""
        if self.judge.halt is None or not ruling.released:
            return ruling
        outcome = judged.outcome
        return self.fail(outcome.exchange, outcome.kind, DENIED.code, DENIED.reason)

    def must_wait(self, judged: Judged) -> bool:
        """Tell whether *judged* waits for a person."""
        return judged.outcome.effective is Verdict.ASK

    def rule_now(self, judged: Judged) -> Ruling:
        """Return the ruling of a judged input that needs nobody; an ask is stopped."""
        outcome = judged.outcome
        if outcome.effective is Verdict.ALLOW:
            return self._released(judged, self.judge.edited(outcome, judged.prepared))
        return self._stopped(judged, withheld_of(judged) + outcome.agent_reason)

    def fail(
        self, exchange: str, kind: Kind, code: str, reason: str, *, subject: Subject | None = None
    ) -> Ruling:
        """Record a denial that no input led to (an unreachable upstream, a crash of ours)."""
        outcome = self.judge.failure(exchange, kind, code, reason, subject=subject)
        self._record(outcome)
        self._show(outcome)
        ran = withheld(outcome, from_server=kind in ("answer", "event"))
        return self._stopped(Judged(outcome, EndInput(exchange)), ran + outcome.agent_reason)

    def end(self, exchange: str) -> None:
        """Forget *exchange*; nothing of it comes any more."""
        self._conclude(EndInput(exchange), EndInput(exchange))

    def complete(self, completion: Completion) -> None:
        """Record how an exchange ended."""
        self.written(completion_record(completion, time=time.time()))
        self.hub.publish(CompletedEvent(completed=Completed(
            exchange=completion.exchange, status=completion.status,
            request_bytes=completion.request_bytes, response_bytes=completion.response_bytes,
            latency=completion.latency, fate=completion.fate)))  # fmt: skip

    def client_left(self, connection: str) -> None:
        """Close everything that waits on *connection*: nobody is there to get the answer."""
        self.waiting.client_left(connection)

    def next_exchange(self) -> str:
        """Return a new exchange id: short enough to type, unique in the audit file."""
        self._exchanges += 1
        return f"{self._run}-{self._exchanges:x}"

    def answer(self, key: str, given: Given) -> bool:
        """Take an operator's answer to a held call; False when it already left."""
        return self.holding.answer(key, given)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        self._asking += 1
        self._nobody_asks.clear()
        try:
            yield
        finally:
            self._asking -= 1
            if self._asking == 0:
                self._nobody_asks.set()

    async def drained(self) -> None:
        """Wait until every held call has its answer and mitmproxy has sent it on."""
        await self._nobody_asks.wait()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def close(self) -> None:
        """Deny what waits and stop the threads."""
        self.waiting.close()
        self._threads.shutdown(wait=True)

    def _conclude(self, given: Input, prepared: Prepared) -> Judged | None:
        now, started = time.time(), time.perf_counter()
        outcome = self.judge.conclude(prepared, now=now, steady=lasting())
        self.times.conclude.add(time.perf_counter() - started)
        kept = self._captured(given, now)
        if outcome is None:
            return None
        self.hits.count(outcome, now)
        self.exhibits.add(given, outcome, self.judge.policy, now)
        if self._capture is not None:
            kept = kept and self._capture.outcome(outcome)
        if _is_plain(outcome) and kept and self.trouble is None:
            return Judged(outcome, prepared)  # its exchange's completion tells of it
        recorded = self._record(outcome)
        if outcome.effective is not Verdict.DENY and not (kept and recorded):
            code = "record_failed" if not recorded else "capture_full"
            outcome = self.judge.failure(
                outcome.exchange, outcome.kind, code, "the decision could not be recorded"
            )
            self._record(outcome)
        self._show(outcome)
        return Judged(outcome, prepared)

    def _captured(self, given: Input, now: float) -> bool:
        """Offer *given* to the capture, and first what it is judged by, where that is new."""
        if self._capture is None:
            return True
        policy, book = self.judge.policy, self.judge.scanner.book
        if self._in_force[0] is not policy or self._in_force[1] is not book:
            canaries = [rule.id for rule in book.rules.values() if rule.detector == "canary"]
            if not self._capture.policy(policy.hash, self.judge.mode, canaries, paths_of(policy)):
                return False
            self._in_force = policy, book
        return self._capture.input(given, now=now)

    def captured_switch(self, *, on: bool) -> bool:
        """Let the capture know that the kill switch was turned; False when it will not."""
        return self._capture is None or self._capture.switch(on=on)

    def say(self, line: str) -> None:
        """Log *line*."""
        if self._log is not None:
            self._log(line)

    def _record(self, outcome: Outcome) -> bool:
        if not all(self._record(part) for part in outcome.parts):
            return False
        record = outcome_record(outcome, time=time.time(), scanner=self.judge.scanner)
        if not self.written(record):
            return False
        self.trouble = None
        return True

    def written(self, record: Mapping[str, Any]) -> bool:
        """Append *record* to the audit file; False where that fails."""
        started = time.perf_counter()
        try:
            self._audit.append(record)
        except OSError as error:
            self._failed("the audit file", error)
            return False
        self.times.record.add(time.perf_counter() - started)
        return True

    def _show(self, outcome: Outcome) -> None:
        for part in outcome.parts:
            self._show(part)
        self.decisions += 1
        self.verdicts[outcome.verdict] += 1
        self.denied += outcome.verdict is Verdict.DENY
        row = row_of(outcome, time=time.time(), scanner=self.judge.scanner)
        self.hub.rows.append(row)
        self.hub.publish(RowEvent(row=row))
        self.say(log_line(row))

    async def _let_go(self, judged: Judged) -> Ruling:
        """Return the ruling that releases *judged*; a long text is edited in a thread."""
        outcome, prepared = judged.outcome, judged.prepared
        given = None if isinstance(prepared, _NO_BODY) else prepared.input
        if given is None or not outcome.effective_edits or _size(given) <= INLINE_BYTES:
            return self._released(judged, self.judge.edited(outcome, prepared))
        loop = asyncio.get_running_loop()
        edited = await loop.run_in_executor(self._threads, self.judge.edited, outcome, prepared)
        return self._released(judged, edited)

    def _released(self, judged: Judged, text: str | None) -> Ruling:
        headers = self.judge.mirrors(judged.prepared, text) if text is not None else {}
        return Ruling(judged.outcome, judged.prepared, released=True, text=text, headers=headers)

    def _stopped(self, judged: Judged, detail: str) -> Ruling:
        instead = self.judge.stop(judged.outcome, judged.prepared, detail)
        reply = self.judge.reply(judged.outcome, detail, instead)
        return Ruling(judged.outcome, judged.prepared, False, detail, reply, instead=instead)

    def _failed(self, what: str, error: OSError) -> None:
        self.trouble = f"{what} cannot be written ({error.strerror}); everything is denied"
        self.say(f"trouble  {self.trouble}")


def _size(given: Input) -> int:
    if isinstance(given, MessageInput):
        return len(given.data)
    if isinstance(given, EventInput):
        return len(given.data) + sum(map(len, given.notes))
    if not isinstance(given, RequestInput | AnswerInput):
        return 0
    if given.body and given.head.get("content-encoding") is not None:
        return INLINE_BYTES + 1  # some bytes of brotli are megabytes to read
    return len(given.body)


def _digested(prepared: Prepared) -> Prepared:
    """Return *prepared* with what takes long to hash hashed."""
    if isinstance(prepared, PreparedRequest) and is_long(prepared):
        return replace(prepared, digest=digest_of(prepared))
    return prepared


def _is_plain(outcome: Outcome) -> bool:
    """Tell whether *outcome* passes what a server sent, and nothing was found or changed.

    An answer, or a notification that no rule spoke of: one line for each progress of each call
    would bury what there is to read.
    """
    if outcome.findings or outcome.edits:
        return False
    if outcome.parts:
        return all(_is_plain(part) for part in outcome.parts)
    if outcome.kind in ("answer", "event"):
        return outcome.code in ("answer", "housekeeping")
    return outcome.kind == "message" and outcome.code == "answer"
