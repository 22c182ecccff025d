"""Sessions of 2025-11-25 through the proxy: streams that resume, batches, what servers ask.

The official SDK is client and server, over streamable HTTP and over HTTP+SSE.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import httpx
import mcp_types as types
import modern
import pytest
from harness import MCP_NAME, OTHER_NAME
from legacy import ALONE, NO_MODELS, NO_PERSON, RULES, call, said
from mcp.client import Client
from pydantic import FileUrl
from sdk_clients import decide
from wires import (
    ACCEPT,
    ACCEPTED,
    INJECTED,
    KEY,
    MARK,
    OPEN,
    SCRIPTED_NAME,
    STREAM,
    Arrived,
    Piece,
    Wires,
    event,
    http_client,
    json_answer,
    sdk_client,
    text_of,
)

pytest_plugins = ["wire_fixtures"]


async def lives(client: Client) -> None:
    """Assert that the session goes on."""
    assert text_of(await client.call_tool("read_note", {})) == "read_note is done."


# ----- sessions and their streams


async def test_a_session_has_its_stream_and_its_end(wires: Wires) -> None:
    async with sdk_client(wires.gate(RULES), wires.server.url, "legacy") as client:
        assert client.protocol_version == "2025-11-25"
        denied = await client.call_tool("delete_note", {})
        assert (text_of(denied), denied.is_error) == (NO_PERSON, True)
        await lives(client)
    first, *others = wires.server.arrived()
    assert first.rpc == "initialize"
    assert sorted(came.rpc for came in others) == [
        "DELETE", "GET", "notifications/initialized", "tools/call", "tools/list",
    ]  # fmt: skip
    assert "mcp-session-id" not in first.headers
    assert len({came.headers["mcp-session-id"] for came in others}) == 1


async def test_an_answer_that_comes_on_the_resumed_stream_passes(wires: Wires) -> None:
    async with sdk_client(wires.gate(RULES), wires.server.url, "legacy") as client:
        result = await client.call_tool("resume", {"text": "good"})
        assert (text_of(result), result.is_error) == ("The rest of the answer.", False)
        await lives(client)
    resumed = [came for came in wires.server.arrived() if "last-event-id" in came.headers]
    assert [came.method for came in resumed] == ["GET"]


async def test_an_injection_on_the_resumed_stream_is_withheld_from_its_call(wires: Wires) -> None:
    gate = wires.gate(RULES)
    async with sdk_client(gate, wires.server.url, "legacy") as client:
        withheld = await client.call_tool("resume", {"text": "bad"})
        assert (withheld.is_error, "Ignore" in text_of(withheld)) == (True, False)
        assert text_of(withheld).startswith("The tool has run;")
        await lives(client)
    denied = gate.decisions(rule="scan.injection")[-1]
    assert (denied["method"], denied["tool"]) == ("tools/call", "resume")


async def test_without_the_scan_the_injection_comes_on_the_resumed_stream(wires: Wires) -> None:
    async with sdk_client(wires.gate(OPEN), wires.server.url, "legacy") as client:
        assert text_of(await client.call_tool("resume", {"text": "bad"})) == INJECTED


# ----- what servers ask of the client

TRANSPORTS = {"streamable HTTP": "legacy", "HTTP and SSE": "sse"}
ASKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "the model": ("ask_model", {"refused": -1, "message": NO_MODELS},
                  {"role": "assistant", "model": "none",
                   "content": {"type": "text", "text": "hedgehog"}}),
    "the user": ("ask_user", {"answer": {"action": "decline"}},
                 {"action": "accept", "content": {"colour": "green"}}),
    "the roots": ("ask_roots", {"answer": {"roots": []}}, {"roots": [{"uri": "file:///home/ada"}]}),
}  # fmt: skip


def answering(asked: list[str]) -> dict[str, Any]:
    """Return callbacks that answer everything, and note in *asked* what they were asked for."""

    async def fill_in(*_: object) -> types.ElicitResult:
        asked.append("ask_user")
        return types.ElicitResult(action="accept", content={"colour": "green"})

    async def sample(*_: object) -> types.CreateMessageResult:
        asked.append("ask_model")
        text = types.TextContent(text="hedgehog")
        return types.CreateMessageResult(role="assistant", content=text, model="none")

    async def list_roots(*_: object) -> types.ListRootsResult:
        asked.append("ask_roots")
        return types.ListRootsResult(roots=[types.Root(uri=FileUrl("file:///home/ada"))])

    return {"elicitation_callback": fill_in, "sampling_callback": sample,
            "list_roots_callback": list_roots}  # fmt: skip


def url_for(wires: Wires, mode: str) -> str:
    return wires.server.sse_url if mode == "sse" else wires.server.url


@pytest.mark.parametrize("mode", TRANSPORTS.values(), ids=list(TRANSPORTS))
@pytest.mark.parametrize(("tool", "told", "_"), ASKS.values(), ids=list(ASKS))
async def test_what_a_rule_denies_the_server_is_refused_and_its_tool_goes_on(
    wires: Wires, mode: str, tool: str, told: dict[str, Any], _: object
) -> None:
    asked: list[str] = []
    url = url_for(wires, mode)
    async with sdk_client(wires.gate(RULES), url, mode, **answering(asked)) as client:
        result = await client.call_tool(tool, {})
        assert (text_of(result), result.is_error) == (f"The client gave {told}.", False)
        await lives(client)
    assert asked == []
    assert wires.server.ran() == [[tool, told], ["read_note", {}]]


@pytest.mark.parametrize("mode", TRANSPORTS.values(), ids=list(TRANSPORTS))
@pytest.mark.parametrize(("tool", "_", "answer"), ASKS.values(), ids=list(ASKS))
async def test_what_no_rule_denies_the_server_is_answered(
    wires: Wires, mode: str, tool: str, _: object, answer: dict[str, Any]
) -> None:
    asked: list[str] = []
    url = url_for(wires, mode)
    async with sdk_client(wires.gate(OPEN), url, mode, **answering(asked)) as client:
        await client.call_tool(tool, {})
    assert asked == [tool]
    [(_name, told)] = wires.server.ran()
    assert answer.items() <= told["answer"].items()


DECISIONS = {
    "approved": ("allow", ["ask_user"], {"action": "accept", "content": {"colour": "green"}}),
    "denied": ("deny", [], {"action": "decline"}),
}


@pytest.mark.parametrize("mode", TRANSPORTS.values(), ids=list(TRANSPORTS))
@pytest.mark.parametrize(
    ("decision", "asks", "answer"), DECISIONS.values(), ids=list(DECISIONS)
)  # fmt: skip
async def test_a_form_waits_for_a_person(
    wires: Wires, mode: str, decision: str, asks: list[str], answer: dict[str, Any]
) -> None:
    asked: list[str] = []
    gate = wires.gate(RULES)
    url = url_for(wires, mode).replace(MCP_NAME, OTHER_NAME)
    async with sdk_client(gate, url, mode, **answering(asked)) as client:
        calling = asyncio.create_task(client.call_tool("ask_user", {}))
        held = await asyncio.to_thread(gate.wait_pending)
        assert (held["row"]["method"], asked) == ("elicitation/create", [])
        await asyncio.to_thread(decide, gate, held, decision)
        assert (await calling).is_error is False
        await lives(client)
    assert asked == asks
    assert wires.server.ran() == [["ask_user", {"answer": answer}], ["read_note", {}]]


# ----- batches, and many on one endpoint

SESSION = {**ACCEPT, "content-type": "application/json", "mcp-session-id": "s-1",
           "mcp-protocol-version": "2025-11-25"}  # fmt: skip
CANCEL = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
BATCH = json.dumps([call("read_note", 0), CANCEL, call("delete_note", "two")], indent=1).encode()


def post(wires: Wires, policy: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    with http_client(wires.gate(policy)) as client:
        return client.post(wires.scripted.url("/mcp"), content=body, headers=headers)


def test_a_batch_with_one_denied_call_never_arrives_and_each_call_is_denied(wires: Wires) -> None:
    denied = post(wires, RULES, BATCH, SESSION)
    assert denied.status_code == 200
    assert [(item["id"], item["result"]["isError"]) for item in denied.json()] == [
        (0, True), ("two", True),
    ]  # fmt: skip
    assert all(NO_PERSON in item["result"]["content"][0]["text"] for item in denied.json())
    assert wires.scripted.arrived == []


def test_a_batch_of_allowed_calls_arrives_as_it_is_and_so_do_its_answers(wires: Wires) -> None:
    answers = [said("two", "gone"), said(0, "read")]
    wires.scripted.answer = lambda _: [json_answer(answers)]
    assert post(wires, OPEN, BATCH, SESSION).json() == answers
    assert [came.body for came in wires.scripted.arrived] == [BATCH]


ANSWERS = {
    "in JSON": json_answer,
    "in an event": lambda message: STREAM + event(message, event_id="1"),
}


@pytest.mark.parametrize("answered", ANSWERS.values(), ids=list(ANSWERS))
def test_agents_that_use_the_same_ids_on_one_endpoint_get_their_own_answers(
    wires: Wires, answered: Any
) -> None:
    late = wires.scripted.wait()
    listing = {"jsonrpc": "2.0", "id": 1, "method": "prompts/list"}
    listed = {"jsonrpc": "2.0", "id": 1, "result": {"prompts": [{"name": "for late"}]}}

    def answer(came: Arrived) -> Iterator[Piece]:
        if came.rpc == "prompts/list":
            yield late
            yield answered(listed)
            return
        title = came.message["params"]["arguments"]["title"]
        yield answered(said(1, INJECTED if title == "bad" else f"for {title}"))

    wires.scripted.answer = answer
    with ThreadPoolExecutor(1) as other:
        # Of another method, so that neither answer can stand for the other.
        waiting = other.submit(post, wires, RULES, json.dumps(listing).encode(), ALONE)
        wires.scripted.wait_for(1)
        denied = post(wires, RULES, call_of("delete_note", "x"), ALONE).text
        withheld = post(wires, RULES, call_of("read_note", "bad"), ALONE).text
        soon = post(wires, RULES, call_of("read_note", "soon"), ALONE).text
        late.set()
        assert "for late" in waiting.result(20).text
    assert NO_PERSON in denied
    assert "The tool has run;" in withheld
    assert "Ignore" not in withheld
    assert "for soon" in soon
    assert len(wires.scripted.arrived) == 3


def call_of(name: str, title: str) -> bytes:
    return json.dumps(call(name, 1, title=title)).encode()


# ----- HTTP+SSE: the answers come on the stream


async def test_an_injection_on_the_stream_is_withheld_from_its_call(wires: Wires) -> None:
    # In parts, or the call that asks for it would be looked at.
    shown = {"key": [*map(ord, f"\n{INJECTED}")]}
    async with sdk_client(wires.gate(RULES), wires.server.sse_url, "sse") as client:
        withheld = await client.call_tool("show_key", shown)
        assert (withheld.is_error, "Ignore" in text_of(withheld)) == (True, False)
        assert text_of(withheld).startswith("The tool has run;")
        await lives(client)
    async with sdk_client(wires.gate(OPEN), wires.server.sse_url, "sse") as client:
        assert text_of(await client.call_tool("show_key", shown)) == f"key=\n{INJECTED};"


def channel(wires: Wires, endpoint: str, *events: bytes) -> None:
    """Let the scripted server tell of *endpoint*, and send *events* once a message came there."""
    posted = wires.scripted.wait()

    def answer(came: Arrived) -> Iterator[Piece]:
        if came.method == "POST":
            posted.set()
            yield ACCEPTED
        else:
            yield STREAM + event(endpoint, name="endpoint")
            yield posted
            yield from events

    wires.scripted.answer = answer


def trusting(wires: Wires, policy: str, message: object) -> list[str]:
    """Post *message* wherever the stream says; return the stream's lines."""
    url = wires.scripted.url("/sse")
    lines: list[str] = []
    with (
        http_client(wires.gate(policy)) as client,
        client.stream("GET", url, headers={"accept": "text/event-stream"}) as stream,
    ):
        for line in stream.iter_lines():
            if lines[-1:] == ["event: endpoint"]:
                told = urljoin(url, line.removeprefix("data: "))
                assert client.post(told, json=message).status_code == 202
            lines.append(line)
    return lines


def test_a_secret_on_the_stream_is_replaced_in_an_event_that_is_else_the_same(
    wires: Wires,
) -> None:
    secret = [event(said(1, f"key={KEY};"), event_id="a-7"), b": ping\r\n\r\n"]

    def lines(policy: str) -> list[str]:
        channel(wires, "/messages?session_id=1", *secret)
        return trusting(wires, policy, call("read_note"))

    whole = event("/messages?session_id=1", name="endpoint") + b"".join(secret)
    assert lines(OPEN) == whole.decode().splitlines()
    assert lines(RULES) == whole.decode().replace(KEY, MARK).splitlines()


FOREIGN = {
    "another host": "https://paste.upstream.example:PORT/messages",
    "no scheme": "//paste.upstream.example:PORT/messages",
    "another port": "https://docs.upstream.example:1/messages",
    "a user": "https://me@docs.upstream.example:PORT/messages",
    "another server of the host": "/mcp",
}


@pytest.mark.parametrize("endpoint", FOREIGN.values(), ids=list(FOREIGN))
def test_a_stream_that_sends_its_messages_elsewhere_is_cut(wires: Wires, endpoint: str) -> None:
    channel(wires, endpoint.replace("PORT", str(wires.scripted.port)))
    assert "event: endpoint" not in trusting(wires, RULES, call("read_note"))
    assert [came.method for came in wires.scripted.arrived] == ["GET"]
    assert wires.scripted.gone.wait(5)
    assert wires.gate(RULES).decisions(code="foreign_endpoint")


def test_a_stream_that_has_its_messages_sent_to_its_own_origin_goes_on(wires: Wires) -> None:
    channel(wires, wires.scripted.url("/messages"), event(said(1, "fine")))
    assert (
        trusting(wires, RULES, call("read_note"))[-2:]
        == event(said(1, "fine")).decode().split("\r\n")[1:3]
    )
    assert [came.method for came in wires.scripted.arrived] == ["GET", "POST"]


# ----- HTTP+SSE from a server that no policy names, on a host that may be read


def unnamed(wires: Wires) -> str:
    return wires.server.sse_url.replace(MCP_NAME, SCRIPTED_NAME)


def test_the_stream_of_an_unknown_server_is_cut(wires: Wires) -> None:
    gate, url = wires.gate(modern.RULES), unnamed(wires)
    # Not the SDK's client: one that is told of no endpoint would wait.
    with http_client(gate) as client, client.stream("GET", url, headers=ACCEPT) as stream:
        got = bytearray()
        with suppress(httpx.RemoteProtocolError):
            for piece in stream.iter_raw():
                got += piece
        assert bytes(got) == b""
    assert wires.server.wait_for("gone") == "GET"
    assert [row["verdict"] for row in gate.decisions(code="unknown_server")] == ["deny"]


async def test_an_unknown_server_works_where_none_is_asked_about(wires: Wires) -> None:
    async with sdk_client(wires.gate(OPEN), unnamed(wires), "sse") as client:
        await lives(client)


async def test_an_unknown_server_works_once_a_person_approved_it(wires: Wires) -> None:
    gate = wires.gate(RULES)

    async def work() -> None:
        async with sdk_client(gate, unnamed(wires), "sse") as client:
            await lives(client)

    working = asyncio.create_task(work())
    held = await asyncio.to_thread(gate.wait_pending)
    assert [came.rpc for came in wires.server.arrived()] == ["GET"]
    await asyncio.to_thread(decide, gate, held, "allow")
    await working
    assert wires.server.called() == ["read_note"]
