"""Endpoints that spoke MCP are remembered, boundedly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.endpoints import Endpoint, EndpointFacts, EndpointTable


def endpoint(number: int) -> Endpoint:
    return Endpoint("https", "mcp.example.com", 443, f"/{number}")


def test_an_endpoint_is_unknown_until_it_is_learnt() -> None:
    table = EndpointTable()
    assert not table.known(endpoint(1))
    table.learn(endpoint(1))
    assert table.known(endpoint(1))


def test_http_is_not_https() -> None:
    table = EndpointTable()
    table.learn(Endpoint("http", "a", 80, "/"))
    assert not table.known(Endpoint("https", "a", 80, "/"))


def test_the_longest_unused_is_forgotten_first() -> None:
    table = EndpointTable(limit=2)
    table.learn(endpoint(1))
    table.learn(endpoint(2))
    assert table.known(endpoint(1))
    table.learn(endpoint(3))
    assert [table.known(endpoint(number)) for number in (1, 2, 3)] == [True, False, True]


def test_learning_nothing_new_forgets_nothing() -> None:
    table = EndpointTable()
    table.learn(endpoint(1), protocol_version="2025-11-25", server_name="s")
    table.learn(endpoint(1))
    table.learn(endpoint(1), protocol_version="2026-07-28")
    assert table.facts(endpoint(1)) == EndpointFacts("2026-07-28", "s")


def test_a_table_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EndpointTable(limit=0)


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_the_last_learnt_are_known_and_no_more(numbers: list[int], limit: int) -> None:
    table = EndpointTable(limit=limit)
    for number in numbers:
        table.learn(endpoint(number))
    latest = list(dict.fromkeys(reversed(numbers)))
    assert len(table) == min(limit, len(latest))
    assert all(table.known(endpoint(number)) == (number in latest[:limit]) for number in latest)
