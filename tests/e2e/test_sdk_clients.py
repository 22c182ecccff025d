"""The SDKs' own clients through the proxy: every kind of decision, in one session of each."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import Gate
from peers import needs_peers, python_of
from sdk_clients import (
    DENIED,
    LEGACY_SSE,
    PRIVATE,
    STREAMABLE_JSON,
    STREAMABLE_SSE,
    TYPESCRIPT,
    WEBSOCKET,
    Client,
    Program,
    Server,
    Upstream,
    decide,
    without_rules,
)

pytestmark = needs_peers

LEGACY, MODERN = "2025-11-25", "2026-07-28"
PY1, PY2, FASTMCP = "sdk_client_py1.py", "sdk_client_py2.py", "sdk_client_fastmcp.py"
TS1, TS2 = "clients/sdk_v1.mjs", "clients/sdk_v2.mjs"


def py1() -> Path:
    return python_of("mcp1")


def fastmcp() -> Path:
    return python_of("fastmcp")


STREAMABLE = {
    "Python 2.3.0 in a session": Client(PY2, "legacy", LEGACY),
    "Python 2.3.0 without sessions": Client(PY2, "auto", MODERN),
    "Python 1.30.0": Client(PY1, "http", LEGACY, py1),
    "FastMCP 4.1.2": Client(FASTMCP, "auto", MODERN, fastmcp),
    "TypeScript 1.32.2": Client(TS1, "http", LEGACY),
    "TypeScript 2.4.0 in a session": Client(TS2, "legacy", LEGACY),
    "TypeScript 2.4.0 without sessions": Client(TS2, "auto", MODERN),
}
OVER_SSE = {
    "Python 2.3.0": Client(PY2, "sse", LEGACY),
    "Python 1.30.0": Client(PY1, "sse", LEGACY, py1),
    "FastMCP 4.1.2": Client(FASTMCP, "sse", LEGACY, fastmcp),
    "TypeScript 1.32.2": Client(TS1, "sse", LEGACY),
    "TypeScript 2.4.0": Client(TS2, "sse", LEGACY),
}
OVER_WEBSOCKET = {
    "Python 1.30.0": Client(PY1, "websocket", LEGACY, py1),
    "TypeScript 1.32.2": Client(TS1, "websocket", None),  # this transport is not told the version
}

TOOLS = [
    "read_note", "delete_note", "publish_note", "save_note", "show_settings", "count_notes",
    "paint", "think",
]  # fmt: skip
KEY = ("AKIA", "QYLPMN5HHHFPZAM2")
CODES = [*map(ord, "".join(KEY))]


@dataclass
class Talk:
    """A client and a server, and the proxy between them."""

    client: Program
    upstream: Upstream
    gate: Gate

    def call(self, name: str, **arguments: object) -> dict[str, Any]:
        return self.client.do(do="call", name=name, arguments=arguments)

    def held(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call what waits for a person; return what waits."""
        self.client.ask(do="call", name=name, arguments=arguments)
        return self.gate.wait_pending()

    def goes_on(self) -> None:
        """Assert that the session lives, and that nothing ran which nobody asked about."""
        assert self.call("read_note", title="alive") == answer(
            "The note 'alive' says: water the plants."
        )
        assert self.upstream.ran() == ("read_note", {"title": "alive"})


def answer(text: str) -> dict[str, Any]:
    """What a tool that returns a string answers."""
    return {"ok": text, "isError": False, "structured": {"result": text}}


def tool_error(text: str) -> dict[str, Any]:
    """What a model can read and act on, and a host does not take for broken plumbing."""
    return {"ok": text, "isError": True, "structured": None}


def lists_come_whole(talk: Talk) -> None:
    assert talk.client.do(do="tools") == {"ok": TOOLS}


def an_allowed_call_runs(talk: Talk) -> None:
    assert talk.call("read_note", title="x") == answer("The note 'x' says: water the plants.")
    assert talk.upstream.ran() == ("read_note", {"title": "x"})


def a_denied_call_tells_why_and_does_not_run(talk: Talk) -> None:
    assert talk.call("delete_note", title="x") == tool_error(DENIED)


def a_denied_prompt_is_an_error(talk: Talk) -> None:
    denied = talk.client.do(do="prompt", name="farewell", arguments={"name": "Ada"})
    assert (PRIVATE in denied["error"], denied["code"]) == (True, -31000)
    allowed = talk.client.do(do="prompt", name="greeting", arguments={"name": "Ada"})
    assert allowed == {"ok": "Greet Ada."}
    assert talk.upstream.ran() == ("greeting", {"name": "Ada"})


def a_denied_resource_is_an_error(talk: Talk) -> None:
    denied = talk.client.do(do="resource", uri="note://private")
    assert (PRIVATE in denied["error"], denied["code"]) == (True, -31000)
    allowed = talk.client.do(do="resource", uri="note://public")
    assert allowed == {"ok": "Opening hours: nine to five."}
    assert talk.upstream.ran() == ("note://public", {})


def a_credential_in_the_arguments_is_replaced_and_nothing_else(talk: Talk) -> None:
    text = "clé=\t'{}';\n\\u0041 \u2028 \U0001f511"
    assert talk.call("save_note", title="t", text=text.format("".join(KEY))) == answer("Saved 't'.")
    assert talk.upstream.ran() == (
        "save_note", {"title": "t", "text": text.format("[aws-access-key:1]")},
    )  # fmt: skip


def a_credential_in_the_result_is_replaced_and_nothing_else(talk: Talk) -> None:
    shown = talk.call("show_settings", key=CODES)
    assert shown == answer("région=\t'eu'\nkey=[aws-access-key:1];\nend \\ \u2028")
    assert talk.upstream.ran() == ("show_settings", {"key": CODES})


def a_held_call_runs_once_approved(talk: Talk) -> None:
    held = talk.held("publish_note", title="x")
    decide(talk.gate, held, "allow")
    assert talk.client.read() == answer("The world can read 'x'.")
    assert talk.upstream.ran() == ("publish_note", {"title": "x"})


def a_held_call_that_is_denied_tells_why_and_does_not_run(talk: Talk) -> None:
    held = talk.held("publish_note", title="y")
    decide(talk.gate, held, "deny", "not on a Friday")
    assert talk.client.read() == tool_error("The operator denied this: not on a Friday")


def a_call_that_cannot_wait_is_denied(talk: Talk) -> None:
    denied = talk.call("publish_note", title="x")
    assert (denied["isError"], denied["structured"]) == (True, None)
    assert denied["ok"]


def progress_comes_through(talk: Talk) -> None:
    done = talk.client.do(do="call", name="count_notes", arguments={}, progress=True)
    assert done == answer("There are 2 notes.")
    assert talk.upstream.ran() == ("count_notes", {})


def a_server_may_ask_the_user(talk: Talk) -> None:
    assert talk.call("paint") == answer("Painted it green.")
    assert talk.upstream.ran() == ("paint", {})


def a_server_may_ask_the_model(talk: Talk) -> None:
    assert talk.call("think") == answer("It thought of a hedgehog.")
    assert talk.upstream.ran() == ("think", {})


type Step = Callable[[Talk], None]
type Policy = Callable[[str], str]
type Connect = Callable[..., Talk]

JUDGED: list[Step] = [
    lists_come_whole,
    an_allowed_call_runs,
    a_denied_call_tells_why_and_does_not_run,
    a_denied_prompt_is_an_error,
    a_denied_resource_is_an_error,
    a_credential_in_the_arguments_is_replaced_and_nothing_else,
    a_credential_in_the_result_is_replaced_and_nothing_else,
]
WAITING: list[Step] = [
    a_held_call_runs_once_approved,
    a_held_call_that_is_denied_tells_why_and_does_not_run,
]
PUSHED: list[Step] = [
    progress_comes_through,
    a_server_may_ask_the_user,
    a_server_may_ask_the_model,
]


@pytest.fixture(scope="module")
def upstream_of(
    pki: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Server], Upstream]]:
    """Return the server of a kind; it is started when first asked for."""
    running: dict[Server, Upstream] = {}
    with ExitStack() as stack:

        def of(kind: Server) -> Upstream:
            if kind not in running:
                running[kind] = kind.start(tmp_path_factory.mktemp("server"), pki[1])
                stack.callback(running[kind].close, wait=0)
            running[kind].forget()
            return running[kind]

        yield of


@pytest.fixture
def connect(
    tmp_path: Path,
    upstream_of: Callable[[Server], Upstream],
    start_gate: Callable[..., Gate],
) -> Iterator[Connect]:
    """Connect a client to a server through a proxy of its own; its policy may be changed."""
    with ExitStack() as stack:

        def start(kind: Client, server: Server, policy: Policy = str) -> Talk:
            upstream = upstream_of(server)
            gate = start_gate(policy(upstream.policy))
            client = kind.start(tmp_path, upstream.url, gate.agent_environment)
            stack.callback(client.close)
            assert client.read() == {"ok": "connected", "version": kind.version}
            return Talk(client, upstream, gate)

        yield start


def survives(talk: Talk, steps: list[Step]) -> None:
    """Do *steps* in one session, which goes on after each and was never opened again."""
    for step in steps:
        step(talk)
        talk.goes_on()
    opened = [d for method in ("initialize", "server/discover")
              for d in talk.gate.decisions(method=method)
              if d["kind"] in ("request", "message")]  # fmt: skip
    assert len(opened) == 1


@pytest.mark.parametrize("client", STREAMABLE.values(), ids=list(STREAMABLE))
def test_a_session_survives_every_decision_where_the_server_answers_in_events(
    client: Client, connect: Connect
) -> None:
    survives(connect(client, STREAMABLE_SSE), JUDGED + WAITING + PUSHED)


@pytest.mark.parametrize("client", STREAMABLE.values(), ids=list(STREAMABLE))
def test_a_session_survives_every_decision_where_the_server_answers_in_json(
    client: Client, connect: Connect
) -> None:
    survives(connect(client, STREAMABLE_JSON), JUDGED + WAITING)


@pytest.mark.parametrize("name", ["Python 1.30.0", "TypeScript 2.4.0 in a session"])
def test_a_session_survives_every_decision_where_the_server_is_of_the_other_sdk(
    name: str, connect: Connect
) -> None:
    survives(connect(STREAMABLE[name], TYPESCRIPT), JUDGED + WAITING + PUSHED)


@pytest.mark.parametrize("client", OVER_SSE.values(), ids=list(OVER_SSE))
def test_a_session_over_http_and_sse_survives_every_decision(
    client: Client, connect: Connect
) -> None:
    survives(connect(client, LEGACY_SSE), JUDGED + WAITING + PUSHED)


@pytest.mark.parametrize("client", OVER_WEBSOCKET.values(), ids=list(OVER_WEBSOCKET))
def test_a_session_over_a_websocket_survives_every_decision(
    client: Client, connect: Connect
) -> None:
    survives(connect(client, WEBSOCKET), [*JUDGED, a_call_that_cannot_wait_is_denied, *PUSHED])


CONTROLS = {
    "streamable HTTP": (STREAMABLE["Python 2.3.0 without sessions"], STREAMABLE_SSE),
    "HTTP and SSE": (OVER_SSE["Python 2.3.0"], LEGACY_SSE),
    "a WebSocket": (OVER_WEBSOCKET["Python 1.30.0"], WEBSOCKET),
}


@pytest.mark.parametrize(("client", "server"), CONTROLS.values(), ids=list(CONTROLS))
def test_without_the_rules_all_that_was_stopped_or_changed_goes_through(
    client: Client, server: Server, connect: Connect
) -> None:
    talk = connect(client, server, without_rules)
    for name in ("delete_note", "publish_note"):
        assert talk.call(name, title="x")["isError"] is False
        assert talk.upstream.ran() == (name, {"title": "x"})
    talk.client.do(do="prompt", name="farewell", arguments={"name": "Ada"})
    assert talk.upstream.ran() == ("farewell", {"name": "Ada"})
    talk.client.do(do="resource", uri="note://private")
    assert talk.upstream.ran() == ("note://private", {})
    talk.call("save_note", title="t", text="".join(KEY))
    assert talk.upstream.ran() == ("save_note", {"title": "t", "text": "".join(KEY)})
    assert "".join(KEY) in talk.call("show_settings", key=CODES)["ok"]


def rpc(method: str, params: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})


def call(name: str, title: str) -> str:
    return rpc("tools/call", {"name": name, "arguments": {"title": title}})


DELETE = call("delete_note", "x")
HIDDEN = {
    "plainly": (DELETE.encode(), {}),
    "in a batch": (f"[{call('read_note', 'x')},{DELETE}]".encode(), {}),
    "compressed": (gzip.compress(DELETE.encode()), {"content-encoding": "gzip"}),
    "in UTF-16": (
        DELETE.encode("utf-16-le"), {"content-type": "application/json; charset=utf-16le"},
    ),
    "behind a byte order mark": (b"\xef\xbb\xbf" + DELETE.encode(), {}),
    "behind another name": (DELETE.replace('"name"', '"name": "read_note", "name"').encode(), {}),
}  # fmt: skip


def ways_that_run(http: httpx.Client, url: str, upstream: Upstream) -> set[str]:
    """Return in which of the ways above a call in a session of *http* runs on the server."""
    client = {"name": "raw", "version": "1"}
    hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}
    http.headers.update({
        "accept": "application/json, text/event-stream", "content-type": "application/json",
    })  # fmt: skip
    opened = http.post(url, content=rpc("initialize", hello))
    http.headers.update({
        "mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": LEGACY,
    })  # fmt: skip
    run = set()
    for way, (body, headers) in HIDDEN.items():
        http.post(url, content=body, headers=headers)
        assert http.post(url, content=call("read_note", way)).status_code == 200
        while (ran := upstream.ran()) != ("read_note", {"title": way}):
            if ran[0] == "delete_note":
                run.add(way)
    return run


def test_what_a_typescript_server_reads_in_a_body_is_what_is_judged(
    pki: tuple[Path, Path],
    upstream_of: Callable[[Server], Upstream],
    start_gate: Callable[..., Gate],
) -> None:
    upstream = upstream_of(TYPESCRIPT)
    trust = ssl.create_default_context(cafile=str(pki[0]))
    trust.check_hostname = False
    with httpx.Client(verify=trust, trust_env=False, timeout=20) as direct:
        url = f"https://127.0.0.1:{upstream.port}/mcp"
        assert ways_that_run(direct, url, upstream) == set(HIDDEN)
    gate = start_gate(upstream.policy)
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    where = f"http://127.0.0.1:{gate.port}"
    with httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=20) as through:
        assert ways_that_run(through, upstream.url, upstream) == set()
