"""The SDKs' own clients wait longer than they would: a late approval still arrives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from harness import InProcess
from mitmproxy import http
from peers import needs_peers, python_of
from sdk_clients import STREAMABLE_JSON, Client, Program, Upstream, policy_for

from mitmgate.cli.env import variables
from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.mitm.kept import Times

pytestmark = needs_peers

PATIENT = "sdk_client_patient.py"
CLIENTS = {
    "Python 2.3.0 in a session": Client(PATIENT, "legacy", None),
    "Python 2.3.0 without sessions": Client(PATIENT, "auto", None),
    "Python 1.30.0": Client(PATIENT, "1", None, lambda: python_of("mcp1")),
    "TypeScript 2.4.0 in a session": Client("clients/patient.mjs", "legacy", None),
    "TypeScript 2.4.0 without sessions": Client("clients/patient.mjs", "auto", None),
}
EVERY = 0.25
TURNS = 16  # longer than the three seconds after which these clients give up


class Counting(GateAddon):
    """A gate that tells when a client was kept for a while."""

    times = Times(begin=EVERY, every=EVERY)
    long: threading.Event

    async def kept_turn(self, flow: http.HTTPFlow) -> None:
        await super().kept_turn(flow)
        kept = self.kept_of(flow)
        if kept is not None and kept.turns >= TURNS:
            self.long.set()


@pytest.fixture
def upstream(tmp_path: Path, pki: tuple[Path, Path]) -> Iterator[Upstream]:
    folder = tmp_path / "upstream"
    folder.mkdir()
    started = STREAMABLE_JSON.start(folder, pki[1])
    yield started
    started.close(wait=0)  # whatever it still does, nobody waits for it


@pytest.fixture(params=CLIENTS.values(), ids=list(CLIENTS))
def connect(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    upstream: Upstream,
    run_proxy: Callable[..., InProcess],
) -> Iterator[Callable[[str], tuple[Program, Desk, threading.Event]]]:
    """Start a proxy with this in the rule that asks, and the client behind it."""
    with ExitStack() as stack:

        def start(hold: str) -> tuple[Program, Desk, threading.Event]:
            long = threading.Event()
            policy = policy_for(upstream.port, "mcp").replace("then: ask}", f"then: ask{hold}}}")
            policy = policy.replace("scan:\n", "").replace(
                "  secrets: {arguments: redact, results: redact}\n", ""
            )
            gate = run_proxy(type("Told", (Counting,), {"long": long}), policy=policy)
            running = gate.running
            host, _, port = running.listen.rpartition(":")
            environment = {
                "PATH": os.environ["PATH"], **variables(running.authority, (host, int(port))),
            }  # fmt: skip
            folder = tmp_path / "client"
            folder.mkdir()
            client = request.param.start(folder, upstream.url, environment)
            stack.callback(client.close, wait=0)
            client.read()
            return client, Desk(running.control, running.operator_key), long

        yield start


def publish(client: Program) -> None:
    client.ask(do="call", name="publish_note", arguments={"title": "t"})


def test_an_approval_that_comes_after_the_clients_own_time_arrives(
    connect: Callable[..., Any], upstream: Upstream
) -> None:
    client, desk, long = connect(", hold: {wait: 10m}")
    publish(client)
    entry = desk.waiting()
    assert long.wait(30)
    assert desk.decide(entry, "allow") == 200
    answer = client.read()
    assert (answer["isError"], "t" in answer["ok"]) == (False, True)
    assert upstream.ran() == ("publish_note", {"title": "t"})


def test_a_late_denial_arrives_too_and_the_session_goes_on(
    connect: Callable[..., Any], upstream: Upstream
) -> None:
    client, desk, long = connect(", hold: {wait: 10m}")
    publish(client)
    entry = desk.waiting()
    assert long.wait(30)
    assert desk.decide(entry, "deny", "not today") == 200
    assert client.read() == {
        "ok": "The operator denied this: not today", "isError": True, "structured": None,
    }  # fmt: skip
    assert client.do(do="call", name="read_note", arguments={"title": "x"})["isError"] is False
    assert upstream.ran() == ("read_note", {"title": "x"})


def test_without_it_the_client_gives_up(connect: Callable[..., Any]) -> None:
    client, desk, _ = connect("")
    publish(client)
    desk.waiting()
    try:
        told = client.read()
    except AssertionError as gone:  # a line of the Python SDK ends with its session
        assert "ReadTimeout" in str(gone)
    else:
        assert "ok" not in told
