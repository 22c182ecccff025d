"""Agent cards that were accepted, beyond one run: ``cards.json`` in the state folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from mitmgate.ca.storage import write_whole
from mitmgate.control.models import Model
from mitmgate.errors import ConfigError, Problem
from mitmgate.wire.inventory import MOST_CARDS, Cards

FILE = "cards.json"
_LARGEST = 16 * 1024 * 1024

type _Url = Annotated[str, Field(min_length=1, max_length=2000)]
type _Digest = Annotated[str, Field(min_length=64, max_length=64)]


class CardsFile(Model):
    """What ``cards.json`` holds: the SHA-256 of each card's canonical JSON, by URL."""

    # To Python, and so to a Literal, true equals 1.
    version: Annotated[int, Field(strict=True, ge=1, le=1)]
    cards: Annotated[dict[_Url, _Digest], Field(max_length=MOST_CARDS)]


def read_cards(path: Path) -> dict[str, str]:
    """Return the digests in the file at *path*, none where it is missing.

    Raises ConfigError for a file that cannot be read or is damaged.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, "is larger than any that mitmgate writes")
        return CardsFile.model_validate_json(path.read_bytes()).cards
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise _damaged(path, "is damaged") from error


def restore_cards(cards: Cards, path: Path) -> None:
    """Fill *cards* from the file at *path*; raise as :func:`read_cards` does."""
    for url, digest in read_cards(path).items():
        cards.accept(url, digest)


def write_cards(path: Path, cards: tuple[tuple[str, str], ...]) -> None:
    """Write *cards* whole to *path*; raise ConfigError where that cannot be done."""
    text = json.dumps({"version": 1, "cards": dict(cards)}, ensure_ascii=False, indent=1)
    write_whole(path, text.encode("utf-8", "replace") + b"\n", mode=0o600)


def _damaged(path: Path, message: str) -> ConfigError:
    hint = "without it the next card of each agent is taken for its first"
    return ConfigError(Problem(message, file=str(path), hint=hint))
