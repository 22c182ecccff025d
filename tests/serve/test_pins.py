"""Agent cards that were accepted are known again after a restart."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.load import load_policy
from mitmgate.serve.inventory import FILE, kept_inventory
from mitmgate.serve.pins import FILE as CARDS
from mitmgate.serve.pins import read_cards, write_cards
from mitmgate.wire.inventory import Cards, Inventory

URL, DIGEST = "https://agent.example/.well-known/agent-card.json", "ab" * 32


class Nothing:
    """A scanner that finds nothing."""

    def scan(self, *_: object, **__: object) -> tuple[()]:
        return ()

    def scan_text(self, *_: object, **__: object) -> tuple[()]:
        return ()


async def run(inventory: Inventory, folder: Path, *accepted: tuple[str, str]) -> list[str]:
    """Keep *inventory* in *folder* while *accepted* are; return what was logged."""
    said: list[str] = []
    policy = load_policy("version: 1\n", file="p.yaml")
    async with kept_inventory(
        inventory, path=folder / FILE, policy=policy, scanner=Nothing(), log=said.append
    ):
        for url, digest in accepted:
            inventory.cards.accept(url, digest)
    return said


def test_what_was_accepted_is_known_after_a_restart(tmp_path: Path) -> None:
    assert asyncio.run(run(Inventory(), tmp_path, (URL, DIGEST))) == []
    assert stat.S_IMODE((tmp_path / CARDS).stat().st_mode) == 0o600
    again = Inventory()
    asyncio.run(run(again, tmp_path))
    assert again.cards.accepted(URL) == DIGEST


def test_no_card_makes_no_file(tmp_path: Path) -> None:
    asyncio.run(run(Inventory(), tmp_path))
    assert not (tmp_path / CARDS).exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"version": true, "cards": {}}', '{"version": 1, "cards": {"a": "short"}}',
     '{"version": 1, "cards": {}, "more": 1}'],
)  # fmt: skip
def test_a_damaged_file_is_told_and_moved_aside(text: str, tmp_path: Path) -> None:
    (tmp_path / CARDS).write_text(text)
    with pytest.raises(ConfigError):
        read_cards(tmp_path / CARDS)
    [said] = asyncio.run(run(Inventory(), tmp_path))
    assert "cards.json: is damaged; it was moved to cards.json.damaged" in said
    assert (tmp_path / f"{CARDS}.damaged").read_text() == text


def test_a_missing_file_holds_nothing(tmp_path: Path) -> None:
    assert read_cards(tmp_path / CARDS) == {}
    write_cards(tmp_path / CARDS, ((URL, DIGEST),))
    assert read_cards(tmp_path / CARDS) == {URL: DIGEST}


def test_the_longest_unused_is_forgotten_first() -> None:
    cards = Cards(limit=2)
    for name in ("a", "b"):
        cards.accept(name, DIGEST)
    assert cards.accepted("a") == DIGEST
    cards.accept("c", DIGEST)
    assert [url for url, _ in cards.all()] == ["a", "c"]
    before = cards.revision
    cards.accept("a", DIGEST)
    assert cards.revision == before
