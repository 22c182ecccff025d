"""Whatever authority is accepted, no other program reads another host in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzz_authority import CORPUS, PIECES, check_authority, mutated
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.net import authority

ENOUGH = settings.default.max_examples * 10 if settings.default else 600
NUMBER = st.integers(0, 2**20)
STEPS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), max_size=4)
REFUSED = frozenset({"0x7f.1", "2130706433"})


@pytest.mark.parametrize("text", CORPUS)
def test_the_ground_of_the_mutations(text: str) -> None:
    assert check_authority(text) is (text not in REFUSED)


@settings(max_examples=ENOUGH)
@given(NUMBER, STEPS)
def test_no_mutation_is_read_as_another_host(base: int, steps: list[tuple[int, int, int]]) -> None:
    check_authority(mutated(base, steps))


@settings(max_examples=ENOUGH)
@given(st.lists(st.sampled_from([*PIECES, *CORPUS]), max_size=6).map("".join))
@example("good.example:80@evil.example")
@example("good.example\\.evil.example")
@example("[::ffff:7f00:1]")
def test_no_text_is_read_as_another_host(text: str) -> None:
    check_authority(text)


OPEN = {
    "user information passes": (
        "_refuse_odd_characters", lambda _: None, "good.example@evil.example"),
    "every number is a name": ("_is_numeric", lambda _: False, "2130706433"),
    "a number of octals is one of decimals": (
        "_ipv4", lambda name: name.replace(".010", ".10"), "10.0.0.010"),
}  # fmt: skip


@pytest.fixture
def _nothing_read_before() -> Iterator[None]:
    authority.normalise_authority.cache_clear()
    yield
    authority.normalise_authority.cache_clear()


@pytest.mark.usefixtures("_nothing_read_before")
@pytest.mark.parametrize(("name", "instead", "text"), OPEN.values(), ids=OPEN)
def test_the_oracle_sees_what_a_missing_check_lets_through(
    name: str, instead: object, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, name, instead)
    if name == "_refuse_odd_characters":
        monkeypatch.setattr(authority, "_check_label", lambda _: None)
    with pytest.raises((AssertionError, WireError)):
        check_authority(text)
