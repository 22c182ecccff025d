"""The inventory beyond one run: the file is whole, holds no secret, and is never lost silently."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from judging import KEY, POLICY, scanner
from piping import make_rig, until

from mitmgate.ca.storage import write_whole
from mitmgate.control.models import ServerList, ServerView
from mitmgate.errors import ConfigError
from mitmgate.policy.load import load_policy
from mitmgate.serve import inventory as module
from mitmgate.serve.api import ControlApi
from mitmgate.serve.inventory import (
    FILE,
    Views,
    kept_inventory,
    read_servers,
    write_servers,
)
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Inventory, SeenServer, Transport

URL = "https://files.example/mcp"
SEEN = SeenServer(
    url=URL, server="files", name="notes", title="Notes", version="1.0",
    protocol_versions=("2025-11-25",), transports=("streamable_http",), tools=("a", "b"),
    tools_total=2, agents=("agent",), agents_total=1, calls=3, first_seen=1.0, last_seen=2.5,
)  # fmt: skip


@dataclass
class Store:
    """The file of a state folder, and what was moved out of its way."""

    path: Path

    def put(self, content: bytes) -> None:
        self.path.write_bytes(content)

    def save(self, *seen: SeenServer) -> None:
        write_servers(self.path, Views(scanner()).of(seen))

    def servers(self) -> tuple[ServerView, ...]:
        return read_servers(self.path)

    def status(self) -> os.stat_result | None:
        return self.path.stat() if self.path.exists() else None

    def make_folder(self) -> None:
        self.path.mkdir()
        (self.path / "inside").touch()

    def remove_folder(self) -> None:
        (self.path / "inside").unlink()
        self.path.rmdir()

    def aside(self, number: str = "") -> Path:
        return self.path.with_name(f"servers.json.damaged{number}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / FILE)


@pytest.fixture
def log() -> list[str]:
    return []


type Keep = Callable[[], AbstractAsyncContextManager[Inventory]]


@pytest.fixture
def keep(store: Store, log: list[str]) -> Keep:
    """Give what keeps a new inventory in the file for the length of a block."""

    @asynccontextmanager
    async def keeping() -> AsyncIterator[Inventory]:
        inventory = Inventory()
        policy = load_policy(POLICY, file="p.yaml")
        async with kept_inventory(
            inventory, path=store.path, policy=policy, scanner=scanner(), log=log.append
        ):
            yield inventory

    return keeping


def see(inventory: Inventory, host: str = "files.example", **changes: Any) -> None:
    usual: dict[str, Any] = {
        "url": f"https://{host}/mcp", "agent": "agent", "server": None, "now": 5.0,
        "transport": Transport.STREAMABLE_HTTP,
    }  # fmt: skip
    inventory.saw(Endpoint("https", host, 443, "/mcp"), **{**usual, **changes})


async def test_what_was_seen_is_there_at_the_next_start(keep: Keep, store: Store) -> None:
    async with keep() as inventory:
        see(inventory, called=True)
    status = store.status()
    assert status is not None
    assert status.st_mode & 0o777 == 0o600
    async with keep() as again:
        [server] = again.seen()
        assert (server.url, server.calls) == (URL, 1)
        see(again, called=True, now=9.0)
    [view] = store.servers()
    assert (view.calls, view.first_seen, view.last_seen) == (2, 5.0, 9.0)


async def test_the_file_is_written_while_the_proxy_runs(
    keep: Keep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.001)
    monkeypatch.setattr(module, "CALLS_EVERY", 10**9)
    async with keep() as inventory:
        see(inventory)
        await until(lambda: store.status() is not None)
        see(inventory, "other.example")
        await until(lambda: len(store.servers()) == 2)


async def test_calls_alone_are_written_now_and_then(
    keep: Keep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(SEEN)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.001)
    monkeypatch.setattr(module, "CALLS_EVERY", 2)
    async with keep() as inventory:
        see(inventory, server="files", called=True)
        await until(lambda: store.servers()[0].calls == 4)


async def test_nothing_new_writes_nothing(keep: Keep, store: Store) -> None:
    async with keep():
        pass
    assert store.status() is None
    store.save(SEEN)
    before = store.status()
    async with keep():
        pass
    assert store.status() == before


async def test_a_name_is_the_one_that_the_policy_gives_now(keep: Keep, store: Store) -> None:
    urls = {
        URL: "files",
        "http://files.example/mcp": "files",
        "https://files.example:444/mcp": None,
        "https://files.example/mcp/../mcp": None,
        "https://elsewhere.example/mcp": None,
        "what": None,
        "https://files.example/[redacted]": "gone",  # who knows: as it was
    }
    store.save(*(replace(SEEN, url=url, server="gone") for url in urls))
    async with keep() as inventory:
        assert {server.url: server.server for server in inventory.seen()} == urls


DAMAGED: dict[str, bytes] = {
    "an empty file": b"",
    "half a file": b'{"version":1,"servers":[{"url":"https:',
    "another version": b'{"version":2,"servers":[]}',
    "no version": b'{"servers":[]}',
    "a truth for a version": b'{"version":true,"servers":[]}',
    "an unknown key": b'{"version":1,"servers":[],"more":1}',
    "a server without a URL": b'{"version":1,"servers":[{"server":null}]}',
    "bytes that are no UTF-8": b'{"version":1,"servers":["\xff"]}',
    "a list": b"[]",
    "a time that no calendar has": json.dumps({"version": 1, "servers": [
        {**Views(scanner()).of([SEEN])[0].model_dump(), "last_seen": 1e300}]}).encode(),
    "a time that is no number": json.dumps({"version": 1, "servers": [
        {**Views(scanner()).of([SEEN])[0].model_dump(), "last_seen": float("nan")}]}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_file_is_moved_aside_and_the_log_says_so(
    content: bytes, keep: Keep, store: Store, log: list[str]
) -> None:
    store.put(content)
    with pytest.raises(ConfigError, match="is damaged") as caught:
        store.servers()
    assert caught.value.problems[0].hint
    async with keep() as inventory:
        assert inventory.seen() == ()
        see(inventory)
    [line] = log
    assert line.startswith(f"trouble  {store.path}: is damaged")
    assert line.endswith("it was moved to servers.json.damaged; what is seen starts anew")
    assert store.aside().read_bytes() == content
    assert len(store.servers()) == 1


async def test_what_was_moved_aside_before_stays(keep: Keep, store: Store, log: list[str]) -> None:
    for content in (b"first", b"second", b"third"):
        store.put(content)
        async with keep():
            pass
    moved = [store.aside(number) for number in ("", "-2", "-3")]
    assert [file.read_text() for file in moved] == ["first", "second", "third"]
    assert [file.name in line for file, line in zip(moved, log, strict=True)] == [True] * 3


async def test_a_file_of_any_size_is_not_read_into_memory(
    keep: Keep, store: Store, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST", 10)
    store.save(SEEN)
    async with keep() as inventory:
        assert inventory.seen() == ()
    assert "is larger than any that mitmgate writes" in log[0]


async def test_a_folder_in_place_of_the_file_is_moved_aside(
    keep: Keep, store: Store, log: list[str]
) -> None:
    store.make_folder()
    async with keep() as inventory:
        see(inventory)
    assert "cannot be read" in log[0]
    assert store.aside().is_dir()
    assert len(store.servers()) == 1


async def test_a_file_that_cannot_be_moved_stops_nothing(
    keep: Keep, store: Store, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(b"no")

    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    async with keep() as inventory:
        see(inventory)
    assert "cannot be moved aside (Permission denied)" in log[0]


async def test_a_write_that_fails_is_logged_once_and_tried_again(
    keep: Keep, store: Store, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.001)
    store.make_folder()
    tried = 0

    def counted(where: Path, data: bytes, *, mode: int) -> None:
        nonlocal tried
        tried += 1
        write_whole(where, data, mode=mode)

    monkeypatch.setattr(module, "write_whole", counted)
    monkeypatch.setattr(module, "_move_aside", lambda _: "it stays")
    async with keep() as inventory:
        see(inventory)
        await until(lambda: tried >= 3)
        assert [line.partition(":")[0] for line in log[1:]] == ["trouble  the list of servers"]
        store.remove_folder()
        await until(lambda: store.status() is not None)
    assert len(store.servers()) == 1


async def test_the_last_write_is_the_one_that_stays(
    keep: Keep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.001)
    loop, writing, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(where: Path, data: bytes, *, mode: int) -> None:
        loop.call_soon_threadsafe(writing.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        write_whole(where, data, mode=mode)

    monkeypatch.setattr(module, "write_whole", slow)
    async with keep() as inventory:
        see(inventory)
        await writing.wait()
        see(inventory, "other.example")
        loop.call_soon(go_on.set)  # the block ends while the first write is still under way
    assert len(store.servers()) == 2


SECRETS: dict[str, dict[str, Any]] = {
    "the URL": {"url": f"https://files.example/{KEY}"},
    "the name": {"name": f"notes {KEY}"},
    "the title": {"title": KEY},
    "the version": {"version": KEY},
    "a revision": {"protocol_versions": (KEY,)},
    "a tool": {"tools": ("a", KEY)},
    "an agent": {"agents": (KEY,)},
}


@pytest.mark.parametrize("changes", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_written_or_shown(changes: dict[str, Any], store: Store) -> None:
    plain, hidden = Views(scanner()).of([SEEN, replace(SEEN, **changes)])
    store.save(SEEN, replace(SEEN, **changes))
    assert plain.model_dump() == store.servers()[0].model_dump()
    assert plain.tools == SEEN.tools
    assert KEY not in hidden.model_dump_json()
    assert KEY not in store.path.read_text()
    assert "[redacted]" in hidden.model_dump_json()
    assert hidden.calls == SEEN.calls


def test_what_was_scrubbed_is_remembered_and_counts_stay_true() -> None:
    scans = 0

    class Counting:
        def scan(self, texts: Any) -> Any:
            nonlocal scans
            scans += 1
            return scanner().scan(texts)

    views = Views(Counting())
    views.of([SEEN])
    [view] = views.of([replace(SEEN, calls=9, last_seen=8.0)])
    assert (scans, view.calls, view.last_seen, view.first_seen) == (1, 9, 8.0, 1.0)
    views.of([replace(SEEN, tools=("c",))])
    assert scans == 2


async def test_everybody_may_ask_the_running_proxy() -> None:
    rig = make_rig()
    see(rig.pipeline.judge.inventory, "new.example")
    see(rig.pipeline.judge.inventory, server="files", agent=KEY, now=6.0)
    app = ControlApi(rig.pipeline, lambda: None, "k" * 16).app()  # type: ignore[arg-type,return-value]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
        answer = await client.get("/v1/servers")
        assert (await client.post("/v1/servers")).status_code == 405
    views = ServerList.model_validate_json(answer.content).servers
    assert [(view.server, view.url, view.agents) for view in views] == [
        ("files", URL, ("[redacted]",)), (None, "https://new.example/mcp", ("agent",)),
    ]  # fmt: skip
    rig.pipeline.close()


def test_a_state_folder_without_the_file_has_seen_nothing(store: Store) -> None:
    assert store.servers() == ()
