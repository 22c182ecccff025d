"""The control API on a real Unix socket: what the operator key opens, and what it keeps shut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from judging import call
from piping import Rig, first_pending, make_rig, until

from mitmgate.control.models import RowEvent, State
from mitmgate.errors import ConfigError
from mitmgate.mitm.core import Ruling
from mitmgate.serve import hub
from mitmgate.serve.api import ControlApi
from mitmgate.serve.control import ControlServer

OPERATOR_KEY = "an-operator-key-of-these-tests"
ALLOW = {"decision": "allow"}
LINUX = sys.platform == "linux"
DECIDED = {"released": 1, "grant": None, "ticket": None}


@dataclass
class Control:
    """A running control API, and clients of it."""

    rig: Rig
    path: Path

    def client(self, key: str | None = OPERATOR_KEY) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.AsyncHTTPTransport(uds=str(self.path))
        return httpx.AsyncClient(transport=transport, base_url="http://gate", headers=headers)

    async def hold(self) -> tuple[str, asyncio.Task[Ruling | None]]:
        """Let a call wait; return its id and what becomes of it."""
        waiting = self.rig.pipeline.decide(call("push", {"a": 1}), connection="c")
        task = asyncio.create_task(waiting)
        return await first_pending(self.rig.pipeline), task


@pytest.fixture
async def control() -> AsyncIterator[Control]:
    rig = make_rig()

    def state() -> State:
        return State(version="0", listen="l", mode="enforce", policy="p",
                     pending=len(rig.pipeline.pending), operators=rig.pipeline.hub.operators,
                     decisions=rig.pipeline.decisions, denied=0, healthy=True)  # fmt: skip

    # pytest's own folders can be too deep for a socket.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        server = ControlServer(ControlApi(rig.pipeline, state, OPERATOR_KEY).app(), path)
        await server.start()
        yield Control(rig, path)
        rig.pipeline.close()
        await server.stop()
        assert not path.exists()


NO_OPERATOR: dict[str, str | None] = {
    "no key": None, "another key": "x" * len(OPERATOR_KEY),
    "the beginning of the key": OPERATOR_KEY[:-1], "the key and more": OPERATOR_KEY + "x",
}  # fmt: skip


@pytest.mark.parametrize("key", NO_OPERATOR.values(), ids=NO_OPERATOR)
async def test_who_is_no_operator_sees_no_arguments_and_decides_nothing(
    key: str | None, control: Control
) -> None:
    held, task = await control.hold()
    async with control.client(key) as client:
        refused = await client.post(f"/v1/pending/{held}", json=ALLOW)
        assert (refused.status_code, refused.json()["code"]) == (403, "operator_key_required")
        assert refused.headers["content-type"] == "application/problem+json"
        [entry] = (await client.get("/v1/pending")).json()["pending"]
        assert (entry["id"], entry["arguments"]) == (held, None)
        assert (await client.get("/v1/state")).json()["operators"] == 0
        for refused in (await client.get("/v1/grants"), await client.post("/v1/undo", json={})):
            assert (refused.status_code, refused.json()["code"]) == (403, "operator_key_required")
        [first] = await lines(client, 1)
        assert (first["operator"], first["pending"][0]["arguments"]) == (False, None)
    assert not task.done()
    control.rig.pipeline.waiting.close()
    await task


async def lines(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """Return the first *count* lines of the event stream."""
    got: list[dict[str, Any]] = []
    async with client.stream("GET", "/v1/events") as events:
        async for line in events.aiter_lines():
            got.append(json.loads(line))
            if len(got) == count:
                break
    return got


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_the_operator_decides(decision: str, control: Control) -> None:
    held, task = await control.hold()
    body = {"decision": decision, "operator": "me", "via": "shell", "reason": "because"}
    async with control.client() as client:
        [entry] = (await client.get("/v1/pending")).json()["pending"]
        assert entry["arguments"] == {"name": "push", "arguments": {"a": 1}}
        done = await client.post(f"/v1/pending/{held}", json=body)
        assert (done.status_code, done.json()) == (200, DECIDED | {"id": held, "answer": decision})
        ruling = await task
        assert ruling is not None
        assert ruling.released == (decision == "allow")
        gone = await client.post(f"/v1/pending/{held}", json=body)
        assert (gone.status_code, gone.json()["code"]) == (409, "already_left")
        assert (gone.json()["by"], gone.json()["answer"]) == ("me", decision)
        assert (await client.get("/v1/pending")).json() == {"pending": []}
    [record] = control.rig.audit.of("resolution")
    assert (record["operator"], record["via"]) == ("me", "shell")
    assert record["peer"] == ({"uid": os.getuid(), "pid": os.getpid()} if LINUX else None)
    assert record["reason"] == (None if decision == "allow" else "because")


@pytest.mark.skipif(not LINUX, reason="only Linux tells who is at the other end")
async def test_who_gives_no_name_is_known_by_their_user(control: Control) -> None:
    held, task = await control.hold()
    async with control.client() as client:
        assert (await client.post(f"/v1/pending/{held}", json=ALLOW)).status_code == 200
        await task
        later = call("push", {"b": 1}, exchange="later")
        task = asyncio.create_task(control.rig.pipeline.decide(later, connection="c"))
        held = await first_pending(control.rig.pipeline)
        body = ALLOW | {"lasting": "session", "on": "tool"}
        assert (await client.post(f"/v1/pending/{held}", json=body)).status_code == 200
        await task
        assert (await client.post("/v1/undo", json={})).json()["grant"]["id"] == "g1"
    record = control.rig.audit.of("resolution")[0]
    assert record["operator"] == pwd.getpwuid(os.getuid()).pw_name


async def test_of_two_answers_one_counts(control: Control) -> None:
    held, task = await control.hold()
    control.rig.pipeline.waiting.queue.drop(held)  # answered, and the waiter has not run yet
    async with control.client() as client:
        late = await client.post(f"/v1/pending/{held}", json=ALLOW)
    assert (late.status_code, late.json()["code"]) == (409, "already_left")
    control.rig.pipeline.close()
    task.cancel()


async def test_what_is_remembered_is_listed_and_taken_back(control: Control) -> None:
    held, task = await control.hold()
    body = {"decision": "allow", "lasting": "time", "on": "tool", "operator": "me"}
    async with control.client() as client:
        [entry] = (await client.get("/v1/pending")).json()["pending"]
        assert [scope["on"] for scope in entry["scopes"]] == ["call", "values", "tool", "server"]
        refused = await client.post(f"/v1/pending/{held}", json=body | {"fingerprint": "0"})
        assert (refused.status_code, refused.json()["code"]) == (409, "moved")
        assert not task.done()
        done = await client.post(
            f"/v1/pending/{held}", json=body | {"fingerprint": entry["fingerprint"]}
        )
        assert (done.status_code, done.json()["grant"]) == (200, "g1")
        await task
        [grant] = (await client.get("/v1/grants")).json()["grants"]
        assert (grant["id"], grant["covers"]) == ("g1", "every tools/call push on files")
        assert 0 < grant["left"] <= 900
        undone = await client.post("/v1/undo", json={"operator": "me"})
        assert (undone.status_code, undone.json()["grant"]["id"]) == (200, "g1")
        again = await client.post("/v1/undo", json={"grant": "g1"})
        assert (again.status_code, again.json()["code"]) == (404, "nothing_to_undo")
        assert (await client.get("/v1/grants")).json() == {"grants": []}


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "no JSON": (b"allow", 422),
    "another word": (b'{"decision":"maybe"}', 422),
    "an unknown key": (b'{"decision":"allow","remember":true}', 422),
    "a way that only we use": (b'{"decision":"deny","via":"timeout"}', 422),
    "a very long reason": (json.dumps({"decision": "deny", "reason": "x" * 501}).encode(), 422),
    "more seconds than a day": (b'{"decision":"allow","lasting":"time","seconds":86401}', 422),
    "a scope that nobody knows": (b'{"decision":"allow","lasting":"time","on":"all"}', 422),
    "for ever": (b'{"decision":"allow","lasting":"ever","on":"tool"}', 422),
    "half a surrogate pair": (b'{"decision":"deny","reason":"\\ud800"}', 422),
    "more than an answer can be": (b" " * 16_384 + b'{"decision":"allow"}', 413),
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_what_is_no_answer_settles_nothing(
    body: bytes, status: int, control: Control
) -> None:
    held, task = await control.hold()
    async with control.client() as client:
        kind = {"content-type": "application/json"}
        refused = await client.post(f"/v1/pending/{held}", content=body, headers=kind)
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
        assert held in control.rig.pipeline.pending
    control.rig.pipeline.waiting.close()
    await task


@pytest.mark.parametrize("path", ["/v1/pending/nobody.0", "/v1/pending/%00", "/v1/pending/.."])
async def test_nothing_waits_under_another_id(path: str, control: Control) -> None:
    async with control.client() as client:
        assert (await client.post(path, json=ALLOW)).status_code in (404, 405)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/pending/x"), ("GET", "/v1/pending/x"),
                                              ("POST", "/v1/state"), ("GET", "/")])  # fmt: skip
async def test_there_is_nothing_else(method: str, path: str, control: Control) -> None:
    async with control.client() as client:
        refused = await client.request(method, path)
        assert refused.headers["content-type"] == "application/problem+json"
        expected = {404: "not_found", 405: "method_not_allowed"}
        assert refused.json()["code"] == expected[refused.status_code]
        assert (refused.status_code == 405) == ("allow" in refused.headers)


async def test_a_reader_gets_a_snapshot_and_then_what_happens(control: Control) -> None:
    await control.rig.pipeline.decide(call("get_x", exchange="before"), connection="c")
    async with control.client() as client, client.stream("GET", "/v1/events") as events:
        reading = events.aiter_lines()
        first = json.loads(await anext(reading))
        assert (first["type"], first["operator"]) == ("snapshot", True)
        assert [row["rule"] for row in first["rows"]] == ["reads"]
        assert control.rig.pipeline.hub.operators == 1
        held, task = await control.hold()
        control.rig.pipeline.waiting.close()
        await task
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["type"] != "resolved":
            seen.append(json.loads(await anext(reading)))
        told = [one for one in seen if one["type"] != "state"]
        assert [one["type"] for one in told] == ["row", "held", "resolved"]
        assert (told[1]["pending"]["id"], told[2]["resolved"]["via"]) == (held, "shutdown")
        while json.loads(await anext(reading))["type"] != "state":
            pass  # every second, so that a reader knows that the proxy lives
    await until(lambda: control.rig.pipeline.hub.operators == 0)  # who left is none


async def test_the_state_is_told_also_where_rows_never_stop(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitmgate.serve.api.STATE_SECONDS", 0.0)
    for number in range(3):
        await control.rig.pipeline.decide(call("get_x", exchange=f"e{number}"), connection="c")
    async with control.client() as client:
        got = await lines(client, 3)
    assert "state" in {one["type"] for one in got}


async def test_a_slow_reader_loses_rows_and_nobody_waits_for_it(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "READER_LIMIT", 3)
    pipeline = control.rig.pipeline
    with pipeline.hub.attached(operator=False) as slow:
        for number in range(10):
            await pipeline.decide(call("get_x", exchange=f"e{number}"), connection="c")
        assert slow.dropped == 7
        rows = [json.loads(line) for line in (await slow.next_batch(timeout=1)).splitlines()]
    assert [row["type"] for row in rows] == ["row"] * 3
    assert pipeline.decisions == 10


async def test_the_socket_is_for_this_user_only(control: Control) -> None:
    assert control.path.stat().st_mode & 0o777 == 0o600


async def test_a_path_too_long_for_a_socket_is_refused(control: Control, tmp_path: Path) -> None:
    app = ControlApi(control.rig.pipeline, lambda: None, "k" * 16).app()  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="too long"):
        ControlServer(app, tmp_path / ("x" * 120))


async def test_a_reader_that_stops_reading_slows_nobody(control: Control) -> None:
    pipeline = control.rig.pipeline
    reader, writer = await asyncio.open_unix_connection(str(control.path))
    writer.write(b"GET /v1/events HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await until(lambda: pipeline.hub.readers == 1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    pipeline.judge_now(call("get_x", exchange="first"))
    row = RowEvent(row=pipeline.hub.rows[0])
    for number in range(200_000):
        pipeline.hub.publish(row)
        if number % 100 == 0:
            await asyncio.sleep(0)
            if number >= 10_000 and pipeline.hub.dropped:
                break
    assert pipeline.hub.dropped > 0, "the control: it did not keep up"
    ruling = await pipeline.decide(call("get_x", exchange="last"), connection="c")
    assert ruling is not None
    assert ruling.released
    async with control.client() as client:
        assert (await client.get("/v1/state")).json()["decisions"] == 2
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
