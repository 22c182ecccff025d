"""Revision 2026-07-28 through the proxy: asks inside results, subscriptions, tasks and skills."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.to_thread
import httpx
import mcp_types as types
import pytest
from mcp import MCPError
from mcp.client.subscriptions import ToolsListChanged
from modern import (
    NO_MODELS,
    RULES,
    STRICT,
    call,
    complete,
    connected,
    heads,
    message,
    post,
    said,
)
from wires import (
    INJECTED,
    KEY,
    MARK,
    OPEN,
    STREAM,
    Wires,
    event,
    http_answer,
    http_client,
    json_answer,
    text_of,
)

READ = call("read_note", title="x")
FITTING = heads("tools/call", "read_note")


pytest_plugins = ["wire_fixtures"]


# ----- what a result asks of the client


@pytest.fixture
def asked() -> list[str]:
    """What the client was asked for."""
    return []


def answering(asked: list[str], colour: str) -> dict[str, Any]:
    """Return callbacks that answer everything, and note in *asked* what they were asked for."""

    async def fill_in(*_: object) -> types.ElicitResult:
        asked.append("elicitation")
        return types.ElicitResult(action="accept", content={"colour": colour})

    async def sample(*_: object) -> types.CreateMessageResult:
        asked.append("sampling")
        text = types.TextContent(text="hedgehog")
        return types.CreateMessageResult(role="assistant", content=text, model="none")

    return {"elicitation_callback": fill_in, "sampling_callback": sample}


async def test_sampling_that_a_rule_denies_makes_the_call_a_denial(
    wires: Wires, asked: list[str]
) -> None:
    async with connected(wires, RULES, **answering(asked, f"green {KEY}")) as client:
        denied = await client.call_tool("ask_model", {})
        assert (denied.is_error, NO_MODELS in text_of(denied)) == (True, True)
        assert text_of(await client.call_tool("read_note", {})) == "read_note is done."
    assert asked == []
    assert wires.server.called() == ["ask_model", "read_note"]


async def test_sampling_that_no_rule_denies_is_answered(wires: Wires, asked: list[str]) -> None:
    async with connected(wires, OPEN, **answering(asked, f"green {KEY}")) as client:
        assert "hedgehog" in text_of(await client.call_tool("ask_model", {}))
    assert asked == ["sampling"]


async def test_what_the_user_fills_in_is_redacted_and_the_state_is_not(
    wires: Wires, asked: list[str]
) -> None:
    async with connected(wires, RULES, **answering(asked, f"green {KEY}")) as client:
        result = await client.call_tool("ask_user", {})
        assert result.is_error is False
    [(_, told)] = wires.server.ran()
    assert told["answers"]["colour"]["content"] == {"colour": f"green {MARK}"}
    assert told["state"].startswith('a"b\\c\u2028é\U0001f511 \t=?base64?ZXU=?= %41&amp;')
    assert told["state"].endswith(KEY)


async def test_a_secret_that_the_user_fills_in_stops_the_retry(
    wires: Wires, asked: list[str]
) -> None:
    async with connected(wires, STRICT, **answering(asked, f"green {KEY}")) as client:
        denied = await client.call_tool("ask_user", {})
        assert denied.is_error is True
        assert text_of(await client.call_tool("read_note", {})) == "read_note is done."
    assert asked == ["elicitation"]
    assert all("inputResponses" not in came.message["params"] for came in wires.server.arrived())


async def test_the_state_that_the_retry_carries_is_no_finding(
    wires: Wires, asked: list[str]
) -> None:
    async with connected(wires, STRICT, **answering(asked, "green")) as client:
        assert (await client.call_tool("ask_user", {})).is_error is False
    [(_, told)] = wires.server.ran()
    assert told["answers"]["colour"]["content"] == {"colour": "green"}
    assert KEY in told["state"]


# Escapes that JSON does not need, and what looks like a secret: a server may compare the bytes.
STATE = r'"\u0041\/ é\ud83d\udd11 =?base64?eA==?= ' + KEY + '"'
# The tool's answer and the client's next try; LEAK is what may be redacted.
ASKING = (
    '{"jsonrpc":"2.0", "id":1,"result":{"resultType":"input_required","inputRequests" : {"k":'
    '{"method":"elicitation/create","params":{"message":"Is it LEAK?","requestedSchema":{}}}},'
    '"requestState": STATE }}\n'
).replace("STATE", STATE)
RETRYING = json.dumps(call("read_note", 2, n=1.5)).replace(
    '{"name"',
    '{"inputResponses":{"k":{"action":"accept","content":{"k":"It is LEAK."}}}, '
    f'"requestState" :{STATE}, "name"',
    1,
)


def test_a_request_state_is_kept_byte_for_byte_beside_what_is_redacted(wires: Wires) -> None:
    def having(template: str, text: str) -> bytes:
        return template.replace("LEAK", text).encode()

    wires.scripted.answer = lambda _: [http_answer(having(ASKING, KEY))]
    assert post(wires, RULES, READ, FITTING).content == having(ASKING, MARK)
    wires.scripted.answer = lambda _: [json_answer(said(2, "fine"))]
    post(wires, RULES, having(RETRYING, KEY), FITTING)
    assert wires.scripted.arrived[-1].body == having(RETRYING, MARK)


# ----- streams


async def test_a_subscription_tells_at_once_and_closing_it_reaches_the_server(wires: Wires) -> None:
    async with connected(wires, RULES) as client:
        with anyio.fail_after(20):
            async with client.listen(tools_list_changed=True) as subscription:
                await client.call_tool("announce", {})
                assert isinstance(await anext(subscription), ToolsListChanged)
            left = await anyio.to_thread.run_sync(wires.server.wait_for, "gone")
        assert left == "subscriptions/listen"
        assert text_of(await client.call_tool("read_note", {})) == "read_note is done."


LISTEN = message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "sub")


def notification(method: str, **params: object) -> dict[str, Any]:
    tagged = {"_meta": {"io.modelcontextprotocol/subscriptionId": "sub"}, **params}
    return {"jsonrpc": "2.0", "method": method, "params": tagged}


def test_each_event_of_a_subscription_comes_before_the_next_is_sent(wires: Wires) -> None:
    pieces = [
        event(notification("notifications/subscriptions/acknowledged", notifications={})),
        b": ping\r\n\r\n",
        event(notification("notifications/tools/list_changed")),
        event(complete("sub")),
    ]
    waits = [wires.scripted.wait() for _ in pieces]
    wires.scripted.answer = lambda _: [
        STREAM, *(part for pair in zip(pieces, waits, strict=True) for part in pair),
    ]  # fmt: skip
    with http_client(wires.gate(RULES)) as client, client.stream(
        "POST", wires.scripted.url("/mcp"), json=LISTEN, headers=heads("subscriptions/listen")
    ) as stream:  # fmt: skip
        came = stream.iter_raw()
        for piece, wait in zip(pieces, waits, strict=True):
            assert next(came) == piece
            wait.set()
        assert list(came) == []


def test_a_subscription_that_its_client_leaves_is_left_upstream(wires: Wires) -> None:
    never = wires.scripted.wait()
    wires.scripted.answer = lambda _: [STREAM, never]
    with http_client(wires.gate(RULES)) as client, client.stream(
        "POST", wires.scripted.url("/mcp"), json=LISTEN, headers=heads("subscriptions/listen")
    ) as stream:  # fmt: skip
        assert stream.status_code == 200
        assert not wires.scripted.gone.is_set()
    assert wires.scripted.gone.wait(5)


def test_a_call_that_its_client_leaves_before_the_answer_is_left_upstream(wires: Wires) -> None:
    never = wires.scripted.wait()
    wires.scripted.answer = lambda _: [never]
    with http_client(wires.gate(RULES)) as client, pytest.raises(httpx.ReadTimeout):
        client.post(wires.scripted.url("/mcp"), json=READ, headers=FITTING, timeout=1)
    assert wires.scripted.gone.wait(5)


def test_an_injection_in_a_notification_is_left_out_of_the_stream(wires: Wires) -> None:
    done = {"taskId": "t", "status": "completed", "result": said(1, INJECTED)["result"]}
    pieces = [event(notification("notifications/tasks", **done)), event(complete("sub"))]
    wires.scripted.answer = lambda _: [STREAM, *pieces]
    headers = heads("subscriptions/listen")
    got = post(wires, RULES, LISTEN, headers).content
    assert b"Ignore" not in got
    assert got.endswith(pieces[1])
    assert post(wires, OPEN, LISTEN, headers).content == b"".join(pieces)


# ----- extensions

TASK = {"taskId": "t-1", "status": "working", "createdAt": "2026-07-28T00:00:00Z", "ttlMs": 1000}


def test_a_task_and_its_result_come_as_they_are(wires: Wires) -> None:
    started = {"jsonrpc": "2.0", "id": 1, "result": {"resultType": "task", "task": TASK, **TASK}}
    done = complete(2, **{**TASK, "status": "completed"}, result=said(0, "Done.")["result"])
    wires.scripted.answer = lambda came: [json_answer(done if came.rpc == "tasks/get" else started)]
    assert post(wires, RULES, READ, FITTING).content == json.dumps(started).encode()
    get = message("tasks/get", {"taskId": "t-1"}, 2)
    got = post(wires, RULES, get, heads("tasks/get", "t-1"))
    assert got.content == json.dumps(done).encode()


def test_an_injection_in_the_result_of_a_task_is_withheld(wires: Wires) -> None:
    done = complete(2, **{**TASK, "status": "completed"}, result=said(0, INJECTED)["result"])
    wires.scripted.answer = lambda _: [json_answer(done)]
    get, headers = message("tasks/get", {"taskId": "t-1"}, 2), heads("tasks/get", "t-1")
    withheld = post(wires, RULES, get, headers)
    assert (withheld.status_code, withheld.json()["id"]) == (200, 2)
    assert withheld.json()["error"]["code"] == -31000
    assert "Ignore" not in withheld.text
    assert post(wires, OPEN, get, headers).json() == done


def text_read(read: types.ReadResourceResult) -> str:
    return str(getattr(read.contents[0], "text", ""))


async def test_a_skill_with_a_secret_is_denied_and_never_edited(wires: Wires) -> None:
    async with connected(wires, RULES) as client:
        clean = text_read(await client.read_resource("skill://packing/SKILL.md"))
        assert clean.endswith("Roll the shirts.")
        with pytest.raises(MCPError) as refused:
            await client.read_resource("skill://leaky/SKILL.md")
        assert (refused.value.error.code, MARK in str(refused.value.error)) == (-31000, False)
        assert KEY not in str(refused.value.error)
    async with connected(wires, OPEN) as client:
        leaked = text_read(await client.read_resource("skill://leaky/SKILL.md"))
    assert leaked == f"{clean}\nThe key is {KEY}."


async def test_a_secret_in_any_other_text_is_replaced(wires: Wires) -> None:
    parts = {"key": [*map(ord, KEY)]}
    async with connected(wires, RULES) as client:
        assert text_of(await client.call_tool("show_key", parts)) == f"key={MARK};"
    async with connected(wires, OPEN) as client:
        assert text_of(await client.call_tool("show_key", parts)) == f"key={KEY};"
