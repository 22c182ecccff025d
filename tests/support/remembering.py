"""A pipeline with a reloader, and the file of remembered answers that it reads and writes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judging import POLICY, call, request, scanner
from piping import Audit, Rig, until

from mitmgate.control.decisions import Preview, PreviewRequest
from mitmgate.control.models import Decided, DecideRequest
from mitmgate.judge.inputs import Input
from mitmgate.judge.judge import Judge
from mitmgate.mitm.core import Ruling
from mitmgate.policy.remembered import Kept
from mitmgate.policy.source import PolicySource
from mitmgate.serve.books import Books
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.reload import Reloader

KEY = b"k" * 32


@dataclass
class Gate(Rig):
    """A pipeline with its reloader and the files that it reads."""

    reloader: Reloader
    policy: Path
    file: Path

    async def ruled(self, given: Input) -> Ruling:
        ruling = await self.pipeline.decide(given, connection="c")
        assert ruling is not None
        return ruling

    def start(self, given: Input) -> asyncio.Task[Ruling]:
        return asyncio.create_task(self.ruled(given))

    async def held(self, given: Input) -> tuple[str, asyncio.Task[Ruling]]:
        """Return the id of *given* once it waits, and what waits for its answer."""
        before = set(self.pipeline.pending)
        task = self.start(given)
        await until(lambda: bool(set(self.pipeline.pending) - before))
        [entry] = set(self.pipeline.pending) - before
        return entry, task

    async def preview(self, entry: str, decision: str = "allow", **more: Any) -> Preview:
        asked = {"decision": decision, "on": "tool", "operator": "eva", **more}
        return await self.pipeline.ever.preview(entry, PreviewRequest.model_validate(asked))

    async def decide(
        self, entry: str, preview: str, decision: str = "allow", **more: Any
    ) -> Decided:
        asked = {"decision": decision, "on": "tool", "operator": "eva", "lasting": "ever",
                 "preview": preview, **more}  # fmt: skip
        return await self.pipeline.ever.decide(entry, DecideRequest.model_validate(asked))

    async def say(self, entry: str, decision: str = "allow", **more: Any) -> Decided:
        shown = await self.preview(entry, decision, **more)
        return await self.decide(entry, shown.hash, decision, **more)

    def waits(self) -> tuple[str, ...]:
        """Return how a policy that waits loosens."""
        waiting = self.reloader.waiting
        return () if waiting is None else waiting.changes

    async def change(self, *changes: tuple[str, str]) -> str:
        text = self.policy.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.policy.write_text(text)
        return await self.reloader.reload()


def made(folder: Path, text: str = POLICY) -> Gate:
    policy, file = folder / "policy.yaml", folder / "remembered.yaml"
    if not policy.exists():
        policy.write_text(text)
    source = PolicySource(policy, kept=Kept(file, KEY))
    read, stamp = source.read()
    audit, log, books = Audit(), list[str](), Books(folder)
    judge = Judge(read.policy, scanner())
    stamp = (*stamp, *books.stamp())
    judge.scanner.book = books.of(read.policy)
    reloader = Reloader(judge, books, source, audit, log.append, stamp=stamp, _read=read)
    pipeline = Pipeline(judge, audit, log=log.append)
    pipeline.ever.attach(reloader)
    return Gate(pipeline, audit, log, reloader, policy, file)


def push(exchange: str, force: object = None, **rest: Any) -> Input:
    return call("push", {"force": force, "branch": "main"}, exchange=exchange, **rest)


def paste(exchange: str, target: str = "/a/b?q=1", **rest: Any) -> Input:
    return request("POST", "paste.example", target, b"x", (("content-type", "text/plain"),),
                   exchange=exchange, **rest)  # fmt: skip
