"""Requests are matched with their answers per conversation and id, whatever way these come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.jsonrpc import RequestId
from mitmgate.wire.sessions import Open, Session, Sessions

HERE = Endpoint("https", "files.example", 443, "/mcp")
POSTS = Endpoint("https", "files.example", 443, "/messages")


def opened(session: Session, number: RequestId, exchange: str = "x", method: str = "m") -> Open:
    request = Open(method, exchange)
    session.client.add(number, request)
    return request


def test_an_answer_on_another_exchange_finds_the_request_of_its_session() -> None:
    session = Sessions(10).named(HERE, "s1")
    request = opened(session, 7, exchange="post")
    assert session.client.settle(7, "resumed get") is request


def test_a_request_has_one_answer() -> None:
    session = Sessions(10).named(HERE, "s1")
    opened(session, 7)
    assert session.client.settle(7, "x") is not None
    assert session.client.settle(7, "x") is None


@pytest.mark.parametrize(("asked", "answered"), [(1, "1"), ("1", 1), (0, ""), (7, 8)])
def test_ids_of_another_type_or_value_are_other_requests(
    asked: RequestId, answered: RequestId
) -> None:
    session = Sessions(10).named(HERE, "s1")
    opened(session, asked)
    assert session.client.settle(answered, "x") is None


@pytest.mark.parametrize("number", [0, "", "0", 2**70, -3])
def test_odd_ids_are_ids(number: RequestId) -> None:
    session = Sessions(10).named(HERE, "s1")
    request = opened(session, number)
    assert session.client.settle(number, "x") is request


def test_of_several_with_one_id_the_own_exchange_comes_first_then_the_latest() -> None:
    session = Sessions(10).anonymous("agent", HERE)
    first, second, third = (opened(session, 1, exchange=name) for name in ("a", "b", "c"))
    assert session.client.settle(1, "b") is second
    assert session.client.settle(1, "elsewhere") is third
    assert session.client.settle(1, "elsewhere") is first


def test_where_one_client_speaks_an_id_that_is_asked_again_replaces_the_first() -> None:
    session = Sessions(10).named(HERE, "s1")
    stale, fresh = (opened(session, 1, exchange=name) for name in ("a", "b"))
    assert session.client.alike(1) == (fresh,)
    assert session.client.settle(1, stale.exchange) is fresh


def test_of_a_servers_requests_with_one_id_the_pong_settles_the_swapped_one() -> None:
    session = Sessions(10).named(HERE, "s1")
    roots, denied = Open("roots/list", "s"), Open("sampling/createMessage", "s")
    for request in (roots, denied):
        session.server.add(5, request)
    denied.swapped = "{}"
    assert session.server.find(5, "p", pong=False) is roots
    assert session.server.settle(5, "p", pong=True) is denied
    assert session.server.settle(5, "p", pong=False) is roots


def test_the_sides_of_a_conversation_count_for_themselves() -> None:
    session = Sessions(10).named(HERE, "s1")
    opened(session, 1)
    assert session.server.settle(1, "x") is None


def test_conversations_of_other_sessions_agents_and_endpoints_are_apart() -> None:
    sessions = Sessions(10)
    opened(sessions.named(HERE, "s1"), 1)
    others = (
        sessions.named(HERE, "s2"),
        sessions.named(POSTS, "s1"),
        sessions.anonymous("agent", HERE),
        sessions.socket("s1"),
    )
    assert [other.client.settle(1, "x") for other in others] == [None] * 4


def test_a_session_whose_id_changes_is_one_under_both_ids() -> None:
    sessions = Sessions(10)
    session = sessions.named(HERE, "old")
    sessions.rename(session, HERE, "new")
    request = opened(session, 1)
    assert sessions.named(HERE, "new").client.settle(1, "x") is request
    assert sessions.named(HERE, "old") is session


def test_a_server_cannot_take_over_another_session_by_naming_it() -> None:
    sessions = Sessions(10)
    victim, other = sessions.named(HERE, "victim"), sessions.named(HERE, "other")
    sessions.rename(other, HERE, "victim")
    assert sessions.named(HERE, "victim") is victim


def test_a_session_that_was_ended_is_forgotten() -> None:
    sessions = Sessions(10)
    opened(sessions.named(HERE, "s1"), 1)
    sessions.forget(HERE, "s1")
    assert sessions.named(HERE, "s1").client.settle(1, "x") is None


def test_a_channel_is_found_by_path_and_query_and_by_nothing_less() -> None:
    sessions = Sessions(10)
    home = HERE, "https://files.example/mcp"
    session = sessions.open_channel(POSTS, "session_id=1", server="files", home=home)
    found = sessions.channel(POSTS, "session_id=1")
    assert found is not None
    assert (found.session, found.server, found.home) == (session, "files", home)
    assert sessions.channel(POSTS, "session_id=2") is None
    assert sessions.channel(HERE, "session_id=1") is None


def test_no_secret_of_a_session_is_kept() -> None:
    sessions = Sessions(10)
    secret = "s3cret" * 4
    sessions.named(HERE, secret)
    sessions.open_channel(POSTS, secret, server=None, home=(HERE, ""))
    assert secret not in repr(vars(sessions))


def test_the_table_is_bounded_and_forgets_the_longest_unused_conversation() -> None:
    sessions = Sessions(3)
    first = sessions.named(HERE, "0")
    for number in range(1, 3):
        sessions.named(HERE, str(number))
    assert sessions.named(HERE, "0") is first
    sessions.named(HERE, "3")
    assert len(sessions) == 3
    assert sessions.named(HERE, "0") is first


def test_what_waits_is_bounded_over_all_conversations() -> None:
    sessions = Sessions(1000, open_limit=5)
    for number in range(100):
        opened(sessions.named(HERE, str(number)), 1)
    waiting = [number for number in range(100)
               if sessions.named(HERE, str(number)).client.find(1, "x")]  # fmt: skip
    assert waiting == [95, 96, 97, 98, 99]


def test_a_thousand_requests_with_one_id_do_not_grow_without_bound() -> None:
    session = Sessions(10).anonymous("agent", HERE)
    for number in range(1000):
        opened(session, 1, exchange=str(number))
    answers = 0
    while session.client.settle(1, "x") is not None:
        answers += 1
    assert answers == 64


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "answer"]), st.integers(0, 3), st.sampled_from("ab")),
        max_size=60,
    )
)
def test_each_answer_settles_exactly_one_request_that_was_asked(
    steps: list[tuple[str, int, str]],
) -> None:
    session = Sessions(10).anonymous("agent", HERE)
    waiting: dict[int, int] = {}
    for kind, number, exchange in steps:
        if kind == "ask":
            opened(session, number, exchange=exchange)
            waiting[number] = waiting.get(number, 0) + 1
        else:
            found = session.client.settle(number, exchange)
            assert (found is not None) == (waiting.get(number, 0) > 0)
            waiting[number] = max(0, waiting.get(number, 0) - 1)
