"""``mitmgate servers``: one block for each server, one JSON document, and no surprises."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread
from typing import Any

import pytest

from mitmgate.cli.servers import listing, servers
from mitmgate.control.models import ServerView
from mitmgate.errors import ConfigError
from mitmgate.policy.load import load_policy
from mitmgate.serve.inventory import FILE, write_servers
from mitmgate.wire.inventory import MOST_AGENTS, MOST_NAMES, MOST_TOOLS, Transport

NOW = 1_795_000_000.0
NOTES = ServerView(
    url="https://mcp.example/mcp", server="notes", name="notes-server", title="Notes",
    version="1.0", protocol_versions=("2025-11-25", "2026-07-28"),
    transports=("sse", "streamable_http"), tools=("read_note", "save_note"), tools_total=2,
    agents=("127.0.0.1",), agents_total=1, calls=3, first_seen=NOW - 90_000, last_seen=NOW - 125,
)  # fmt: skip


def changed(**changes: Any) -> ServerView:
    return NOTES.model_copy(update=changes)


UNKNOWN = changed(server=None, url="https://new.example:8443/a/mcp")


def shown(*seen: ServerView) -> str:
    return "\n".join(listing(seen, now=NOW))


def test_a_server_is_a_block() -> None:
    assert shown(NOTES) == (
        "notes  https://mcp.example/mcp\n"
        "    says it is  Notes 1.0\n"
        "    speaks      2025-11-25, 2026-07-28 over HTTP+SSE, streamable HTTP\n"
        "    tools       2: read_note, save_note\n"
        "    agents      1: 127.0.0.1\n"
        "    last seen   2 minutes ago (2026-11-18 11:04:35 UTC), first 2026-11-17 10:06:40 UTC; "
        "3 calls"
    )


PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "one that said nothing": (
        {"name": None, "title": None, "version": None}, "says it is  nothing yet"),
    "one without a title": ({"title": None, "version": None}, "says it is  notes-server\n"),
    "no revision": ({"protocol_versions": ()}, "no known revision over"),
    "no tools": ({"tools": (), "tools_total": 0}, "tools       0\n"),
    "many tools": ({"tools": tuple("abcdefghij"), "tools_total": 700},
                   "tools       700: a, b, c, d, e, f, g, h and 692 more\n"),
    "many agents": ({"agents": tuple("abcde"), "agents_total": 5},
                    "agents      5: a, b, c, d and 1 more\n"),
    "one call": ({"calls": 1}, "UTC; 1 call"),
    "a moment ago": ({"last_seen": NOW - 59.9}, "last seen   just now ("),
    "a clock that was set back": ({"last_seen": NOW + 999}, "last seen   just now ("),
    "one hour": ({"last_seen": NOW - 3_600}, "last seen   1 hour ago ("),
    "days": ({"last_seen": NOW - 172_800}, "last seen   2 days ago ("),
    "a WebSocket": ({"transports": ("websocket",)}, "over WebSocket\n"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "text"), PARTS.values(), ids=PARTS)
def test_a_block_tells(changes: dict[str, Any], text: str) -> None:
    assert text in shown(changed(**changes)) + "\n"


@pytest.mark.parametrize("field", ["name", "title", "version", "url"])
def test_what_strangers_say_cannot_act_on_the_terminal(field: str) -> None:
    hostile = "x\x1b[2J\x9b\u202e\ny"
    text = shown(changed(**{"title": None, field: hostile}))
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == len(shown(NOTES).splitlines())
    assert r"x\x1b[2J" in text


def snippet(text: str) -> str:
    _, _, entries = text.partition("write into the policy:\n")
    return f"version: 1\n{entries}"


def test_an_unknown_server_comes_with_what_to_write_into_the_policy() -> None:
    text = shown(UNKNOWN, NOTES, changed(server=None, url="http://[::1]:81/"))
    assert text.startswith("unknown  https://new.example:8443/a/mcp\n")
    policy = load_policy(snippet(text), file="p.yaml")
    assert policy.server_for("https", "new.example", 8443, "/a/mcp") == "new.example"
    assert len(policy.server_urls) == 2


def test_names_in_the_policy_are_free_ones_and_none_that_a_server_chose() -> None:
    again = UNKNOWN.model_copy(update={"url": "https://new.example/b", "name": "github"})
    text = shown(UNKNOWN, again, changed(server="new.example-2"))
    policy = load_policy(snippet(text), file="p.yaml")
    assert set(policy.server_urls) == {"new.example", "new.example-3"}


UNNAMEABLE = {
    "a redacted URL": "https://new.example/[redacted]",
    "a path with a star": "https://new.example/*/mcp",
    "a path that climbs": "https://new.example/a/../mcp",
    "a control character": "https://new.example/\x1b",
    "no URL": "[redacted]",
}


@pytest.mark.parametrize("url", UNNAMEABLE.values(), ids=UNNAMEABLE)
def test_a_url_that_the_policy_cannot_name_gets_no_entry(url: str) -> None:
    assert "policy" not in shown(changed(server=None, url=url))
    assert "policy" in shown(UNKNOWN)


def test_a_flood_of_unknown_servers_gets_ten_entries() -> None:
    many = [changed(server=None, url=f"https://s{number}.example/") for number in range(50)]
    text = shown(*many)
    assert len(load_policy(snippet(text), file="p.yaml").server_urls) == 10
    assert text.count("says it is") == 50


def test_every_key_and_bound_is_on_the_page() -> None:
    text = (Path(__file__).parents[2] / "docs" / "servers.md").read_text("utf-8")
    assert [key for key in ServerView.model_fields if f"`{key}`" not in text] == []
    assert [way for way in Transport if f"`{way.value}`" not in text] == []
    bounds = MOST_TOOLS, MOST_AGENTS, MOST_NAMES
    assert [bound for bound in bounds if f"{bound:,}" not in text] == []


# --- where the list comes from ----------------------------------------------------------------

NOBODY = "note: no proxy runs here; this is what the last one saw\n"


def test_without_a_proxy_the_file_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_servers(tmp_path / FILE, [NOTES, UNKNOWN])
    servers(state=tmp_path, as_json=True)
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (
        {"servers": json.loads(f"[{NOTES.model_dump_json()},{UNKNOWN.model_dump_json()}]")}, NOBODY,
    )  # fmt: skip
    assert out.count("\n") == 1
    servers(state=tmp_path)
    out, err = capsys.readouterr()
    blocks = re.findall(r"^(\S+)  https://", out, re.MULTILINE)
    assert (blocks, err) == (["notes", "unknown"], NOBODY)


def test_nothing_seen_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    servers(state=tmp_path)
    assert capsys.readouterr() == ("No MCP server was seen yet.\n", NOBODY)
    servers(state=tmp_path, as_json=True)
    assert capsys.readouterr() == ('{"servers":[]}\n', NOBODY)


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"servers\.json: is damaged") as caught:
        servers(state=tmp_path)
    assert caught.value.problems[0].hint
    assert (tmp_path / FILE).read_bytes() == b"{}"


def answering(socket: Path, body: bytes) -> UnixStreamServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body if self.path == "/v1/servers" else b"{}")

        def log_message(self, *_: object) -> None:
            pass

    return UnixStreamServer(str(socket), Handler)


ANSWERS: dict[str, tuple[bytes, bool]] = {
    "a list": (f'{{"servers":[{UNKNOWN.model_dump_json()}]}}'.encode(), True),
    "something else": (b'{"detail":"Not Found"}', False),
    "no JSON": (b"Not Found", False),
}


@pytest.mark.parametrize(("body", "good"), ANSWERS.values(), ids=ANSWERS)
def test_a_running_proxy_is_asked_first(
    body: bytes, good: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_servers(tmp_path / FILE, [NOTES])
    with answering(tmp_path / "control.sock", body) as server:

        def serve() -> None:
            for _ in range(2):  # it looks whether somebody listens, and then asks
                server.handle_request()

        thread = Thread(target=serve)
        thread.start()
        if good:
            servers(state=tmp_path)
            out, err = capsys.readouterr()
            assert (out.startswith("unknown  "), "notes  " in out, err) == (True, False, "")
        else:
            with pytest.raises(ConfigError, match="does not tell which servers it saw"):
                servers(state=tmp_path)
        thread.join()


def test_a_socket_that_a_killed_proxy_left_is_no_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(tmp_path / "control.sock", b"").server_close()
    write_servers(tmp_path / FILE, [NOTES])
    servers(state=tmp_path)
    out, err = capsys.readouterr()
    assert (out.splitlines()[0], err) == ("notes  https://mcp.example/mcp", NOBODY)
