"""Reloads the policy of a running proxy: whole, at once, and never laxer without an operator.

A broken file keeps the policy in force and says so; a change that loosens waits until somebody
with the operator key confirms exactly that policy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mitmgate.errors import ConfigError
from mitmgate.judge.ever import warm
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy, ReadPolicy, with_remembered
from mitmgate.policy.loosening import loosened, remembered_loosened
from mitmgate.policy.remembered import Remembered
from mitmgate.policy.source import FileStamp, PolicySource, Stamp
from mitmgate.record.audit import base_record
from mitmgate.scan.book import RuleBook
from mitmgate.serve.books import Books, gone
from mitmgate.serve.remembered_file import Edit, NotSavedError

POLL_SECONDS = 1.0
_LISTED = 20

type Result = Literal["unchanged", "applied", "waiting", "refused"]


class Records(Protocol):
    """Takes audit records; OSError where one cannot be written."""

    def append(self, record: dict[str, object]) -> None:
        """Write *record*."""


class UnrecordedError(Exception):
    """An edit of the file of remembered answers was taken back: it could not be recorded."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A policy that waits for an operator, and what it loosens."""

    policy: Policy
    changes: tuple[str, ...]
    book: RuleBook


@dataclass(slots=True)
class Reloader:
    """Reads the policy again when its files change, on SIGHUP, and when it is asked to.

    ``problem`` is why the files could not be loaded, ``waiting`` a policy to be confirmed.
    ``applied``, ``refused`` and ``waited`` count what became of changes. ``changed`` is called when
    another policy is in force.
    """

    judge: Judge
    books: Books
    source: PolicySource
    audit: Records
    log: Callable[[str], None]
    trust: bool = False
    stamp: Stamp = ()
    problem: str | None = None
    waiting: Waiting | None = None
    applied: int = 0
    refused: int = 0
    waited: int = 0
    changed: Callable[[], object] | None = None
    _read: ReadPolicy | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def trouble(self) -> str | None:
        """What an operator must know of the policy, or None."""
        if self.problem is not None:
            return f"the policy cannot be loaded, the old one counts: {self.problem}"
        if self.waiting is not None:
            return (
                f"a policy that loosens waits: mitmgate policy confirm ({self.waiting.changes[0]})"
            )
        return None

    async def reload(self) -> Result:
        """Read the policy again; put it in force if it surely does not loosen."""
        async with self._lock:
            try:
                canaries = self.books.stamp()
                read, files = await asyncio.to_thread(self.source.read)
                await asyncio.to_thread(warm, read.policy.remembered)
                self._read, self.stamp = read, (*files, *canaries)
                book = await asyncio.to_thread(self.books.of, read.policy)
            except ConfigError as error:
                self.stamp = self._stamp()
                self._refuse(str(error.problems[0]), len(error.problems))
                return "refused"
            self.problem = None
            before = self.judge.scanner.book
            if read.policy.hash == self.judge.policy.hash and book is before:
                self.waiting = None
                return "unchanged"
            changes = await asyncio.to_thread(loosened, self.judge.policy, read.policy)
            changes += gone(before, book)
            if changes and not self.trust:
                self.waiting = Waiting(read.policy, changes, book)
                self.waited += 1
                self._tell("waiting", read.policy, changes)
                return "waiting"
            self._apply(Waiting(read.policy, changes, book), None)
            return "applied"

    def confirm(self, policy: str, operator: str | None) -> bool:
        """Put the waiting policy with the hash *policy* in force; False where none waits."""
        if self.waiting is None or self.waiting.policy.hash != policy:
            return False
        self._apply(self.waiting, operator)
        return True

    async def rewrite(self, edit: Edit, operator: str | None, record: Callable[[], bool]) -> None:
        """Make an *edit* of the file of remembered answers, and put what it says in force.

        An operator just confirmed it. *record* writes it down; where it gives False the edit is
        taken back, with UnrecordedError. NotSavedError where it could not be made.
        """
        async with self._lock:
            in_force = self.judge.policy.remembered
            remembered, stamp = await asyncio.to_thread(edit.make, in_force)
            if not record():
                with suppress(NotSavedError):
                    await asyncio.to_thread(edit.back)
                raise UnrecordedError
            self._adopt(remembered, stamp, operator)

    def _adopt(self, remembered: Remembered, stamp: FileStamp | None, operator: str | None) -> None:
        if stamp is not None:
            self.stamp = tuple(stamp if one[0] == stamp[0] else one for one in self.stamp)
        waiting, policy = self.waiting, with_remembered(self.judge.policy, remembered)
        changes = tuple(remembered_loosened(self.judge.policy, policy))
        self._apply(Waiting(policy, changes, self.judge.scanner.book), operator)
        if waiting is not None:  # it goes on waiting, with the same answers
            kept = with_remembered(waiting.policy, remembered)
            self.waiting = Waiting(kept, waiting.changes, waiting.book)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Reload for the length of the block whenever a file of the policy changes."""
        self.tell_strays()
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
            if await asyncio.to_thread(self._stamp) != self.stamp:
                await self.reload()

    def _stamp(self) -> Stamp:
        read = self._read.files if self._read is not None else ()
        return (*self.source.stamp(read), *self.books.stamp())

    def _apply(self, change: Waiting, operator: str | None) -> None:
        self._tell("applied", change.policy, change.changes, operator)
        self.judge.policy = change.policy
        self.judge.scanner.book = change.book
        self.waiting = None
        self.applied += 1
        self.tell_strays()
        if self.changed is not None:
            self.changed()

    def tell_strays(self) -> None:
        """Log the remembered rules about servers that the policy does not name."""
        policy = self.judge.policy
        if policy.remembered is not None:
            for stray in policy.remembered.strays(policy.server_urls)[:_LISTED]:
                self.log(f"policy   {stray}")

    def _refuse(self, problem: str, count: int) -> None:
        more = f" (and {count - 1} more; mitmgate check tells all)" if count > 1 else ""
        self.problem = f"{problem}{more}"
        self.refused += 1
        self.log(f"trouble  {self.trouble}")
        self._record("refused", None, (), None)

    def _tell(
        self, result: Result, policy: Policy, changes: tuple[str, ...], operator: str | None = None
    ) -> None:
        by = f" by {operator}" if operator else ""
        what = {"applied": f"policy   {policy.hash} is in force{by}",
                "waiting": f"policy   {policy.hash} loosens and waits for an operator: "
                           "mitmgate policy confirm"}[result]  # fmt: skip
        self.log(what)
        for change in changes[:_LISTED]:
            self.log(f"policy   loosens: {change}")
        self._record(result, policy.hash, changes, operator)

    def _record(
        self, result: Result, policy: str | None, changes: tuple[str, ...], operator: str | None
    ) -> None:
        record = base_record("policy", time=time.time()) | {
            "result": result,
            "policy": policy,
            "before": self.judge.policy.hash,
            "changes": list(changes[:_LISTED]),
            "changes_total": len(changes),
            "operator": operator,
            "problem": self.problem,
        }
        try:
            self.audit.append(record)
        except OSError as error:
            self.log(f"trouble  the audit file cannot be written ({error.strerror})")
