"""Every message of MCP, over every transport, through a real proxy: not one byte is changed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from both_ends import (
    ENDS,
    STREAM,
    Channel,
    Line,
    Sockets,
    answer_head,
    events,
    spelled,
)
from harness import MCP_NAME, Gate, ended
from raw_peers import Head, Peer, Upstream
from specification import LEGACY, MODERN, REVISIONS, Exchange, Json, exchanges
from warm import WarmPopen

POLICY = f"""\
version: 1
network: {{resolve: {{{MCP_NAME}: 127.0.0.1}}}}
servers:
  streamable: {{url: "https://{MCP_NAME}:PORT/mcp"}}
  sse: {{url: "https://{MCP_NAME}:PORT/sse"}}
  socket: {{url: "https://{MCP_NAME}:PORT/ws"}}
mcp: {{unknown_servers: deny, otherwise: allow}}
scan:
  secrets: {{arguments: deny, results: deny, definitions: deny}}
  injection: {{arguments: deny, results: deny, definitions: deny}}
"""
EXCHANGES = tuple(exchanges().values())
FROM_SERVER: dict[str, list[Exchange]] = defaultdict(list)
for _one in EXCHANGES:
    if _one.sender == "server":
        FROM_SERVER[_one.revision].append(_one)


@pytest.fixture(scope="module")
def line(pki: tuple[Path, Path]) -> Iterator[Line]:
    """One proxy for all of these tests; it finds secrets and injections everywhere."""
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio does not ask for it where the socket was made elsewhere: 40 ms for each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with tempfile.TemporaryDirectory(prefix="mg-") as name, listener:
        folder = Path(name)
        policy, state, log = folder / "policy.yaml", folder / "state", folder / "log"
        policy.write_text(POLICY.replace("PORT", str(listener.getsockname()[1])))
        # A pipe that nobody reads would be full after some hundred decisions.
        with log.open("w") as stderr:
            process = WarmPopen(
                [sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0", "--policy",
                 str(policy), "--state-dir", str(state), "--upstream-ca", str(pki[0])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        try:
            ready = process.stdout.readline() if process.stdout else ""
            assert ready, log.read_text()
            yield Line(Gate(process, json.loads(ready), state, folder, policy), listener, pki[1])
        finally:
            ended(process)


def in_session(one: Exchange, number: int) -> list[tuple[str, str]]:
    """Return the headers of *one*, each in a conversation of its own."""
    return [
        (name, f"s-{number}" if name == "mcp-session-id" else value) for name, value in one.headers
    ]


def asked(revision: str) -> list[tuple[Exchange, Json | None]]:
    """Return what clients of *revision* send, each once with each of its answers."""
    told: list[tuple[Exchange, Json | None]] = []
    for one in EXCHANGES:
        if (one.revision, one.sender) == (revision, "client"):
            told += [(one, answer) for answer in one.answers.values() or [None]]
    return told


@pytest.mark.parametrize("revision", REVISIONS)
async def test_streamable_http_with_answers_of_json(line: Line, revision: str) -> None:
    async with line.open() as (upstream, peer):
        for one, answer in asked(revision):
            number = next(line.numbers)
            body = spelled(one.message, number)
            told = b"" if answer is None else spelled(answer, number + 1)
            request = line.request("POST /mcp?x=1", *in_session(one, number), body=body)
            status = 202 if answer is None else one.status(answer)
            head = answer_head(status, told, number)
            await line.carry(peer, upstream, request, body, head, told)


async def answer_server(
    line: Line, peer: Peer, upstream: Upstream, one: Exchange, headers: list[tuple[str, str]]
) -> None:
    """Post the answers to what a server asked."""
    for answer in one.answers.values():
        body = spelled(answer, next(line.numbers))
        request = line.request("POST /mcp", *headers, body=body)
        await line.carry(peer, upstream, request, body, answer_head(202, b"", 0), b"")


# A legacy message is in several revisions: each of them has it with other line ends.
TURNS = [(revision, n % len(ENDS)) for n, revision in enumerate(LEGACY)]
TURNS += [(MODERN, turn) for turn in range(len(ENDS))]


@pytest.mark.parametrize(("revision", "turn"), TURNS)
async def test_streamable_http_with_answers_of_events(line: Line, revision: str, turn: int) -> None:
    others = cycle(FROM_SERVER[revision])
    async with line.open() as (upstream, peer):
        for one, answer in asked(revision):
            number = next(line.numbers)
            headers, body = in_session(one, number), spelled(one.message, number)
            request = line.request("POST /mcp", *headers, body=body)
            said = next(others) if one.method != "initialize" else None
            told = [said.message] * max(1, len(said.answers)) if said is not None else []
            told += [answer] if answer is not None else []
            stream = events(told, number * len(ENDS) + turn)
            await line.carry(peer, upstream, request, body, STREAM, stream)
            if said is not None:
                await answer_server(line, peer, upstream, said, headers)


@pytest.mark.parametrize("revision", LEGACY)
async def test_the_stream_on_which_a_server_speaks_first(line: Line, revision: str) -> None:
    said = FROM_SERVER[revision]
    told = [one.message for one in said for _ in one.answers or [None]]
    async with line.open() as (upstream, peer):
        for number in range(len(ENDS) * 2):
            session = [("mcp-session-id", f"listens-{number}"), ("mcp-protocol-version", revision)]
            request = line.request("GET /mcp", *session, ("last-event-id", "4"))
            await line.carry(peer, upstream, request, b"", STREAM, events(told, number))
            kind = ("content-type", "application/json")
            for one in said:
                await answer_server(line, peer, upstream, one, [kind, *session])


@pytest.mark.parametrize("revision", LEGACY)
async def test_http_and_sse(line: Line, revision: str) -> None:
    accepted = Head(b"HTTP/1.1 202 Accepted", ((b"Content-Length", b"8"), (b"X", b"y")))
    kind = ("content-type", "application/json")
    async with line.open() as (upstream, peer), line.client() as listener:
        url = f"/messages/?session_id={next(line.numbers)}"
        channel = await Channel.open(line, upstream, listener, url)

        async def post(message: Json) -> None:
            body = spelled(message, next(line.numbers))
            request = line.request(f"POST {url}", kind, body=body)
            await line.carry(peer, upstream, request, body, accepted, b"Accepted")

        for number, (one, answer) in enumerate(asked(revision)):
            await post(one.message)
            if answer is not None:
                await channel.tell(events([answer], number * 2), number)
        for number, one in enumerate(FROM_SERVER[revision]):
            for answer in one.answers.values() or [None]:
                await channel.tell(events([one.message], number * 2), number)
                if answer is not None:
                    await post(answer)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_websocket(line: Line, revision: str) -> None:
    async with line.open() as (upstream, peer):
        sockets = await Sockets.open(line, upstream, peer)

        async def carry(message: Json, *, from_client: bool) -> None:
            number = next(line.numbers)
            text = spelled(message, number).decode()
            await sockets.carry(text, from_client=from_client, pieces=1 + number % 3)

        for one, answer in asked(revision):
            await carry(one.message, from_client=True)
            if answer is not None:
                await carry(answer, from_client=False)
        for one in FROM_SERVER[revision]:
            for answer in one.answers.values() or [None]:
                await carry(one.message, from_client=False)
                if answer is not None:
                    await carry(answer, from_client=True)


def batches(revision: str, sender: str) -> Iterator[tuple[list[Json], list[Json]]]:
    """Yield all that *sender* says in *revision* as one batch, and the answers to it.

    Until each answer was there once. Ids are counted: one batch has each of them once.
    """
    said = [one for one in EXCHANGES if (one.revision, one.sender) == (revision, sender)]
    for turn in range(max(len(one.answers) for one in said)):
        calls, answers = [], []
        for number, one in enumerate(said):
            mine = {"id": number} if one.answers else {}
            calls.append({**one.message, **mine})
            if one.answers:
                answers.append({**list(one.answers.values())[turn % len(one.answers)], **mine})
        yield calls, answers


# Only 2025-03-26 has them, but servers execute them in other sessions too.
@pytest.mark.parametrize("revision", LEGACY)
async def test_batches(line: Line, revision: str) -> None:
    async with line.open() as (upstream, peer):
        for calls, answers in batches(revision, "client"):
            number = next(line.numbers)
            named = [("content-type", "application/json"), ("mcp-session-id", f"s-{number}")]
            body = spelled(calls, number)
            told = spelled(answers, number // 2)
            for head, content in (
                (answer_head(200, told, number), told),
                (STREAM, events([*answers], number)),
                (STREAM, events([answers[:2], *answers[2:]], number)),
            ):
                request = line.request("POST /mcp", *named, body=body)
                await line.carry(peer, upstream, request, body, head, content)


@pytest.mark.parametrize("revision", LEGACY)
async def test_batches_of_servers(line: Line, revision: str) -> None:
    async with line.open() as (upstream, peer):
        for calls, answers in batches(revision, "server"):
            number = next(line.numbers)
            session = ("mcp-session-id", f"s-{number}")
            request = line.request("GET /mcp", session)
            await line.carry(peer, upstream, request, b"", STREAM, events([calls], number))
            body = spelled(answers, number)
            kind = ("content-type", "application/json")
            request = line.request("POST /mcp", kind, session, body=body)
            await line.carry(peer, upstream, request, body, answer_head(202, b"", 0), b"")
