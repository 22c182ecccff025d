"""The fast path fits the mitmproxy that is installed, can be left out in parts, and keeps order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer, mode_servers
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpRequestHook
from mitmproxy.proxy.mode_specs import ProxyMode

from mitmgate.errors import ConfigError
from mitmgate.mitm import fast, handler
from mitmgate.mitm.fast import PARTS, VARIABLE, digest, is_on, notices, turned_off
from mitmgate.mitm.handler import FastHandler

NAMES = [part.name for part in PARTS]
WHAT_TO_DO = "read what changed in it, fit the part to it, and put the new digest into mitm/fast.py"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_part_takes_the_place_of_is_as_it_was(name: str) -> None:
    assert fast._changed(name) == "", WHAT_TO_DO


def test_each_part_has_its_own_name_and_a_reason() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(part.reason for part in PARTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_left_out_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {name} ,")
    assert [one for one in NAMES if not is_on(one)] == [name]


@pytest.mark.parametrize("named", ["", None], ids=["empty", "not set"])
def test_nothing_is_left_out_where_nothing_is_named(
    named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if named is not None:
        monkeypatch.setenv(VARIABLE, named)
    assert all(map(is_on, NAMES))


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a part of the fast path: hoks"):
        turned_off({VARIABLE: "hoks,checks"})


@pytest.fixture
def other_mitmproxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every part finds another source than it knows."""
    monkeypatch.setenv(VARIABLE, "")
    changed = tuple(replace(part, replaces=dict.fromkeys(part.replaces, "0")) for part in PARTS)
    monkeypatch.setattr(fast, "PARTS", changed)
    fast._changed.cache_clear()
    monkeypatch.setattr(mode_servers, "ProxyConnectionHandler", mode_servers.ProxyConnectionHandler)
    yield
    monkeypatch.undo()
    http.MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]
    fast._changed.cache_clear()


@pytest.mark.usefixtures("other_mitmproxy")
def test_another_mitmproxy_is_left_as_it_is_and_the_operator_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stock = object()
    monkeypatch.setattr(mode_servers, "ProxyConnectionHandler", stock)
    handler.install()
    assert mode_servers.ProxyConnectionHandler is stock
    told = notices()
    assert "mitmproxy's ConnectionHandler.__init__ is not the one that is known" in told[1]
    assert "without 'hooks'" in told[1]
    monkeypatch.setenv(VARIABLE, "hooks,records")
    assert not any("hooks" in one for one in notices())  # nobody asked for it


@pytest.mark.parametrize("place", ["mitmproxy.http:NoSuch", "no_such_module:x", "builtins:len"])
def test_what_has_no_source_is_not_known(place: str) -> None:
    assert digest(place) == ""


def one(*, blocking: bool = True) -> commands.StartHook:
    """Return a hook that waits for its own end, or one that nobody waits for."""
    hook = HttpRequestHook(cast(Any, None)) if blocking else HttpErrorHook(cast(Any, None))
    hook.blocking = blocking
    return hook


class Script(layer.Layer):
    """Yields, for each event, what is written for it; notes what comes."""

    def __init__(self, plan: dict[str, list[commands.Command]], seen: list[str]) -> None:
        self._plan, self._seen = plan, seen

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        name = _name(event)
        self._seen.append(name)
        if name == "crash":
            raise RuntimeError
        yield from self._plan.get(name, [])
        self._seen.append(f"{name} over")

    def _handle_event(self, _: events.Event) -> layer.CommandGenerator[None]:
        yield from ()


def _name(event: events.Event) -> str:
    if isinstance(event, events.HookCompleted):
        return f"{event.command.name} done"
    return cast(events.DataReceived, event).data.decode()


class Master:
    """Runs hooks by *run*."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self.addons = self
        self.handle_lifecycle = run


class Writer:
    """No socket."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default


def connection(plan: dict[str, list[commands.Command]], seen: list[str], run: Any) -> FastHandler:
    made = FastHandler(Master(run), None, Writer(), options(), ProxyMode.parse("regular"))
    made.layer = Script(plan, seen)
    return made


def options() -> Options:
    known = Options()
    known.add_option("tcp_timeout", int, 600, "")
    return known


def data(made: FastHandler, text: str) -> events.DataReceived:
    return events.DataReceived(made.client, text.encode())


async def test_a_hook_comes_after_its_event_and_what_it_brings_after_it() -> None:
    seen: list[str] = []

    async def run(hook: commands.StartHook) -> None:
        seen.append(f"{hook.name} runs")

    plan: dict[str, list[commands.Command]] = {"a": [one(), one(blocking=False)]}
    made = connection(plan, seen, run)
    await made.server_event(data(made, "a"))
    assert seen == [
        "a",
        "a over",
        "request runs",
        "error runs",
        "request done",
        "request done over",
    ]


async def test_a_hook_that_waits_holds_only_what_waits_for_it() -> None:
    seen: list[str] = []
    gate = asyncio.Event()

    async def run(hook: commands.StartHook) -> None:
        seen.append(f"{hook.name} runs")
        await gate.wait()

    made = connection({"a": [one()]}, seen, run)
    await made.server_event(data(made, "a"))
    assert not made.timeout_watchdog.can_timeout.is_set()  # a person may decide for long
    await made.server_event(data(made, "b"))
    assert seen == ["a", "a over", "request runs", "b", "b over"]
    gate.set()
    await asyncio.gather(*handler._RUNNING)
    await asyncio.sleep(0)  # what is done when it ended comes a turn later
    assert seen[-2:] == ["request done", "request done over"]
    assert made.timeout_watchdog.can_timeout.is_set()
    assert made.timeout_watchdog.blocker == 0


async def test_an_event_from_within_a_hook_waits_for_its_turn() -> None:
    seen: list[str] = []

    async def run(_: commands.StartHook) -> None:
        await made.server_event(data(made, "inner"))
        seen.append("hook over")

    made = connection({"a": [one()]}, seen, run)
    await made.server_event(data(made, "a"))
    assert seen[2:] == ["hook over", "inner", "inner over", "request done", "request done over"]


async def test_a_layer_or_a_hook_that_raises_ends_nothing_else() -> None:
    seen: list[str] = []

    async def run(_: commands.StartHook) -> None:
        raise RuntimeError

    made = connection({"a": [one()]}, seen, run)
    for text in ("crash", "a", "b"):
        await made.server_event(data(made, text))
    assert seen == [
        "crash",
        "a",
        "a over",
        "b",
        "b over",
    ]  # its hook is never done: its layer waits


async def test_a_command_for_a_closed_connection_is_dropped() -> None:
    seen: list[str] = []
    made = connection({}, seen, None)
    plan: list[commands.Command] = [commands.SendData(made.client, b"x")]
    plan.append(commands.CloseConnection(made.client))
    made.layer = Script({"a": plan}, seen)
    del made.transports[made.client]
    await made.server_event(data(made, "a"))
    assert seen == ["a", "a over"]
