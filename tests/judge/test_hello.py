"""A ClientHello in a capture: replay judges what was judged."""

from __future__ import annotations

from typing import Any

import pytest

from mitmgate.judge.hello import HelloInput, hello_record, with_hello
from mitmgate.judge.inputs import ConnectInput

CONNECT = ConnectInput("x", "agent", "pinned.example:443")


@pytest.mark.parametrize("ech", [True, False])
@pytest.mark.parametrize("sni", ["pinned.example", None])
def test_it_comes_back_as_it_was(sni: str | None, ech: bool) -> None:
    given = HelloInput("x", "agent", "pinned.example:443", None, sni, ech, 12.5)
    assert with_hello(CONNECT, hello_record(given)) == given


def test_a_connect_stays_one() -> None:
    assert hello_record(CONNECT) == {}
    assert with_hello(CONNECT, {"type": "connect"}) is CONNECT


DAMAGED: dict[str, Any] = {
    "a number for a name": {"sni": 1, "ech": False, "now": 0.0},
    "a text for the time": {"sni": "a", "ech": False, "now": "0"},
    "nothing": {},
    "a list": [],
}


@pytest.mark.parametrize("hello", DAMAGED.values(), ids=DAMAGED)
def test_damaged_records_are_refused(hello: Any) -> None:
    with pytest.raises(ValueError, match="ClientHello"):
        with_hello(CONNECT, {"hello": hello})
