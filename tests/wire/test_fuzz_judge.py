"""Hostile messages in every place of an exchange get an outcome, whatever came before them."""

from __future__ import annotations

import json

import pytest
from fuzzing import LIMIT, corpus, mutate
from hostile_exchanges import OPEN, SOCKET, WAYS, fuzz_judge, inputs_of, reachable, run
from hypothesis import given
from hypothesis import strategies as st
from judging import event, request, text_result
from planting import (
    LATER,
    PLANTED,
    TRANSPORTS,
    check_clean,
    conversations,
    holds_key,
    once,
    plant,
    redacting_judge,
    spelled,
    untouched,
)
from specification import MODERN, Exchange

from mitmgate.judge.inputs import MessageInput

NUMBERS = st.integers(0, 2**20)
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=4)
TURNS = st.lists(st.tuples(NUMBERS, STEPS, NUMBERS), min_size=1, max_size=4)


@given(TURNS)
def test_every_message_gets_an_outcome(
    turns: list[tuple[int, list[tuple[int, int, int]], int]],
) -> None:
    judge = fuzz_judge()
    for message, steps, what in turns:
        data = mutate(corpus()[message % len(corpus())], steps)
        run(judge, inputs_of(data, what))


def test_messages_as_they_are_in_one_long_run() -> None:
    judge = fuzz_judge()
    for number, data in enumerate(corpus()):
        run(judge, inputs_of(data, number * (len(WAYS) + 1)))


# A secret in every place of every message.


def carried(transport: str) -> list[Exchange]:
    """Return the messages that travel by *transport*, each of them once."""
    return [one for one in once() if one.revision != MODERN or transport in LATER]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_a_secret_all_of_them_go_on_as_they_came(transport: str) -> None:
    for one in carried(transport):
        for steps in untouched(one):
            gone = run(redacting_judge(), TRANSPORTS[transport](steps, one.revision))
            for step in steps:
                assert any(spelled(step.message) in text for text in gone), (one, step)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_secret_goes_on_nowhere(transport: str) -> None:
    redacted = 0
    for one in carried(transport):
        for steps in conversations(one):
            if PLANTED in (steps[-1].message.get("id"), steps[-1].message.get("jsonrpc")):
                continue
            gone = run(redacting_judge(), TRANSPORTS[transport](steps, one.revision))
            assert not [text for text in gone if holds_key(text)], (one.title, steps[-1])
            redacted += "[aws-access-key:1]" in "".join(gone)
    assert redacted > 200


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_secret_in_an_id_goes_on_nowhere_either(transport: str) -> None:
    for one in carried(transport):
        for steps in conversations(one):
            if steps[-1].message.get("id") == PLANTED:
                gone = run(redacting_judge(), TRANSPORTS[transport](steps, one.revision))
                assert not [text for text in gone if holds_key(text)], (one.title, steps[-1])


@given(NUMBERS, st.lists(st.tuples(NUMBERS, STEPS, NUMBERS), max_size=3))
def test_what_goes_on_holds_nothing_that_the_scanner_finds(
    place: int, turns: list[tuple[int, list[tuple[int, int, int]], int]]
) -> None:
    judge = redacting_judge()
    for message, steps, what in turns:
        data = plant(corpus()[message % len(corpus())], place)
        for text in run(judge, inputs_of(mutate(data, steps), what)):
            check_clean(text)


def test_the_oracle_of_secrets_sees_one() -> None:
    told = event(text_result(PLANTED)).data
    assert holds_key(told)
    with pytest.raises(AssertionError):
        check_clean(told)


def test_ids_and_methods_of_any_length_do_not_fill_the_memory() -> None:
    judge, held = fuzz_judge(), []
    long = "x" * (LIMIT - 200)
    for number in range(4 * OPEN):
        for told in ({"id": f"{number}{long}", "method": "ping"}, {"id": number, "method": long}):
            text = json.dumps({"jsonrpc": "2.0", **told})
            run(judge, [request("GET", headers=SOCKET, exchange="socket"),
                        MessageInput("socket", 0, from_client=False, data=text),
                        MessageInput("socket", 1, from_client=True, data=text)])  # fmt: skip
        held.append(reachable(judge._memory))
    assert max(held) < OPEN * 4096
