"""How many connections there may be, and how long one may be silent."""

from __future__ import annotations

import asyncio
import logging
import resource
import time

import pytest
from mitmproxy.connection import Client
from mitmproxy.test import tflow

from mitmgate.mitm import clients
from mitmgate.mitm.clients import SILENT_SECONDS, TOLD_SECONDS, Clients, most_connections


class Door:
    """Clients whose clock is set by hand, and what was closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.closed: list[str] = []
        self.clients = Clients(self.closed.append, most)

    def come(self, name: str) -> Client:
        client: Client = tflow.tclient_conn()
        client.id, client.error = name, None
        self.clients.connected(client)
        return client


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch, most=2)


async def test_the_oldest_silent_one_makes_room(door: Door) -> None:
    arrived = [door.come(name) for name in ("a", "b", "c")]
    assert door.closed == ["a"]
    assert [client.error for client in arrived] == [None, None, None]


async def test_who_speaks_keeps_its_place(door: Door) -> None:
    first, second = door.come("a"), door.come("b")
    door.clients.spoke(first)
    door.come("c")
    assert door.closed == ["b"]
    door.clients.left(second)  # told late, and counted once
    door.clients.spoke(door.come("d"))
    assert door.closed == ["b", "c"]


async def test_where_all_speak_a_new_one_is_refused_and_told_once_a_minute(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    first = door.come("a")
    for client in (first, door.come("b")):
        door.clients.spoke(client)
    assert [door.come(name).error for name in "cde"] == ["too many connections"] * 3
    assert door.closed == []
    assert caplog.messages == [
        "2 connections are open, the most there may be: new ones are refused (1 so far)"
    ]
    door.now += TOLD_SECONDS
    door.come("f")
    assert caplog.messages[1].endswith("(4 so far)")
    door.clients.left(first)
    assert door.come("g").error is None


async def test_silence_ends_after_a_while_and_connect_begins_it_anew(door: Door) -> None:
    first, second = door.come("a"), door.come("b")
    door.now += SILENT_SECONDS / 2
    door.clients.silent(first)  # CONNECT was answered
    door.now += SILENT_SECONDS / 2
    door.clients._look()
    assert door.closed == ["b"]
    door.clients.spoke(first)
    door.now += SILENT_SECONDS
    door.clients._look()
    assert door.closed == ["b"]
    door.clients.silent(second)  # it is over
    assert not door.clients._silent


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ((1024, 1024), 480),
        ((1024, 4096), 2016),  # the soft limit is raised
        ((1_000_000, 1_000_000), clients.MOST),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), clients.MOST),
        ((10, 10), 1),
    ],
)
def test_there_are_no_more_than_files(
    limits: tuple[int, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: raised.append(both))
    assert most_connections() == most
    assert raised == ([(4096, 4096)] if limits[0] != limits[1] else [])


async def test_a_connection_that_says_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "SILENT_SECONDS", 0.01)
    over = asyncio.Event()
    kept = Clients(lambda _: over.set(), 2)
    kept.connected(tflow.tclient_conn())
    async with asyncio.timeout(5):
        await over.wait()
