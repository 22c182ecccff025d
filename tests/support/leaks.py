"""Secrets of all kinds in every place of traffic, and the forms in which files could hold them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
    Shown,
    Tunnel,
)
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

HOST = "files.example"
_JSON: Headers = (("host", HOST), ("content-type", "application/json"))
_SOCKET: Headers = (
    ("host", HOST), ("upgrade", "websocket"), ("connection", "upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "mcp"),
)  # fmt: skip
EVENTS = AnswerHead(200, (("content-type", "text/event-stream"),))


def forms(value: str) -> set[str]:
    """Return *value* as a file could hold it: as it is, in base64, in URLs, in JSON."""
    data = value.encode()
    found = {value, quote(value, safe=""), data.hex(), json.dumps(value)[1:-1]}
    found.add("".join(f"%{byte:02X}" for byte in data))
    found.add("".join(f"\\u{ord(char):04x}" for char in value))
    for shift in range(3):
        # Without the characters that depend on what stands before and after.
        packed = b64encode(b"x" * shift + data).decode().rstrip("=")
        found.add(packed[(0, 2, 3)[shift] : len(packed) - 1])
    return {form.lower() for form in found}


def left(texts: Iterator[str] | list[str], values: list[str]) -> list[str]:
    """Return those of *values* that stand in *texts* in any form."""
    whole = "\n".join(texts).lower()
    return [value for value in values if any(form in whole for form in forms(value))]


def request(
    exchange: str,
    *,
    method: str = "POST",
    target: str = "/mcp",
    headers: Headers = (),
    body: bytes = b"",
    media: str = "application/json",
    host: str = HOST,
) -> RequestInput:
    """Return a request to the server of the tests, or to another *host*."""
    told = (("host", host), ("content-type", media), *headers)
    head = RequestHead(method, "https", host, 443, target, told)
    return RequestInput(exchange, "192.0.2.7", head, host, body, Tunnel(f"{host}:443", host))


def _message(method: str, params: object, number: object = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _call(arguments: object, name: str = "run") -> bytes:
    return json.dumps(_message("tools/call", {"name": name, "arguments": arguments})).encode()


def _answer(exchange: str, **members: object) -> Input:
    text = json.dumps({"jsonrpc": "2.0", "id": 1, **members})
    return AnswerInput(exchange, AnswerHead(200, _JSON[1:]), text.encode())


def requests(secret: str) -> Iterator[tuple[str, Input]]:
    """Yield the places of a request in which *secret* can stand, with such a request."""
    packed = b64encode(f'{{"cursor": "{secret}"}}'.encode()).decode()
    url = quote(secret, safe="")
    yield "an argument", request("1", body=_call({"a": f"see {secret} there"}))
    yield "a name of an argument", request("1", body=_call({secret: 1}))
    yield "JSON in an argument", request("1", body=_call({"a": json.dumps({"token": secret})}))
    yield "an argument in base64", request("1", body=_call({"a": packed}))
    yield (
        "a pair of name and value",
        request("1", body=_call({"env": [{"name": "API_TOKEN", "value": secret}]})),
    )
    yield "the name of a tool", request("1", body=_call({}, name=f"run {secret}"))
    yield (
        "a URI",
        request(
            "1",
            body=json.dumps(_message("resources/read", {"uri": f"x://h/{url}?a={url}"})).encode(),
        ),
    )
    yield "the path", request("1", target=f"/mcp/{url}/x", body=_call({}))
    yield "the query", request("1", target=f"/mcp?q={url}&code={url}", body=_call({}))
    for name in ("authorization", "cookie", "mcp-session-id", "x-api-key", "last-event-id", "x-a"):
        held = f"a={url}" if name == "cookie" else url
        yield f"the header {name}", request("1", headers=((name, held),), body=_call({}))
    yield "a form", request(
        "1", host="docs.example", target="/f", body=f"a={url}&code={url}".encode(),
        media="application/x-www-form-urlencoded",
    )  # fmt: skip
    yield "a part of a form", request(
        "1", host="docs.example", target="/f", media="multipart/form-data; boundary=x",
        body=f'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{secret}\r\n--x--\r\n'
        .encode(),
    )  # fmt: skip
    yield (
        "plain text",
        request(
            "1",
            host="docs.example",
            target="/f",
            media="text/plain",
            body=f"it is {secret}".encode(),
        ),
    )
    yield (
        "a batch",
        request(
            "1",
            body=b"[%s,%s]" % (_call({"a": secret}), _call({"b": [secret]}).replace(b"1", b"2", 1)),
        ),
    )
    yield "an elicitation's answer", request(
        "1", body=json.dumps({"jsonrpc": "2.0", "id": 7, "result": {
            "action": "accept", "content": {"a": secret}}}).encode()
    )  # fmt: skip
    yield "damaged JSON", request("1", body=b'{"a": 1, "a": "%s"' % secret.encode())
    yield (
        "a tunnel's credentials",
        ConnectInput("1", "192.0.2.7", f"{HOST}:443", Shown(secret[:50], "0" * 64)),
    )


def answers(secret: str) -> Iterator[tuple[str, Input]]:
    """Yield the places of what a server says in which *secret* can stand."""
    text = [{"type": "text", "text": f"it is {secret} now"}]
    yield "a result", _answer("0", result={"content": text})
    yield "structured content", _answer("0", result={"content": [], "structuredContent": {
        "a": secret, "nextCursor": secret}})  # fmt: skip
    yield "an error", _answer("0", error={"code": -1, "message": secret, "data": {"a": [secret]}})
    yield "a header of an answer", AnswerInput("0", AnswerHead(200, (
        ("content-type", "application/json"), ("set-cookie", f"s={quote(secret)}; Path=/"),
        ("location", f"/cb?code={quote(secret)}"), ("mcp-session-id", quote(secret)),
    )), b"{}")  # fmt: skip
    told = json.dumps(_message("elicitation/create", {"message": secret, "requestedSchema": {}}))
    yield "an elicitation", EventInput("0", 0, "message", told, EVENTS)
    yield "a notification", EventInput("0", 0, "message", json.dumps(
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info",
         "data": {"a": secret}}}), EVENTS)  # fmt: skip
    yield "a comment of a stream", EventInput("0", 0, "message", "{}", EVENTS, (secret,))
    yield "an event's type", EventInput("0", 0, secret[:200].replace("\n", " "), "{}", EVENTS)
    yield "an endpoint", EventInput("0", 0, "endpoint", f"/m/{quote(secret)}?s={quote(secret)}",
                                    EVENTS)  # fmt: skip


def exchanges(secret: str) -> Iterator[tuple[str, list[Input]]]:
    """Yield each place with an exchange that has *secret* there."""
    for place, given in requests(secret):
        yield place, [given, EndInput("1")]
    for place, given in answers(secret):
        yield place, [request("0", body=_call({"a": "b"})), given, EndInput("0")]
    listing = request("0", body=json.dumps(_message("tools/list", {})).encode())
    tools = [{"name": "t", "description": secret, "inputSchema": {"type": "object",
              "properties": {"token": {"type": "string", "default": secret}}}}]  # fmt: skip
    yield "a list of tools", [listing, _answer("0", result={"tools": tools}), EndInput("0")]
    head = RequestHead("GET", "https", HOST, 443, "/mcp", _SOCKET)
    opening = RequestInput("0", "192.0.2.7", head, HOST, b"", Tunnel(f"{HOST}:443", HOST))
    spoken = MessageInput("0", 0, True, _call({"a": secret}).decode())
    result = {"content": [{"type": "text", "text": secret}]}
    told = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})
    answered = MessageInput("0", 1, False, told)
    yield "a WebSocket", [opening, spoken, answered, EndInput("0")]
