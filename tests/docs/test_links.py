"""Documents are tested: their links lead somewhere and their policies load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mitmgate.policy.load import load_policy
from mitmgate.scan.packs import load_pack

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path for folder in ("", "docs", "certs", "bench") for path in (ROOT / folder).glob("*.md")
)


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt().parse(text):
        yield token
        yield from token.children or ()


def links(text: str) -> list[str]:
    found = (token.attrGet("href") or token.attrGet("src") for token in tokens(text))
    return [str(link) for link in found if link]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of *page*."""
    parsed = MarkdownIt().parse(page.read_text("utf-8"))
    titles = [after.content for before, after in pairwise(parsed)
              if before.type == "heading_open"]  # fmt: skip
    kept = ("".join(c for c in title.lower() if c.isalnum() or c in " -_") for title in titles)
    return {title.replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text("utf-8")):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), link


def files() -> Iterator[tuple[str, str]]:
    """Yield place and text of every fenced YAML that is a whole file (it has a version)."""
    for page in PAGES:
        for token in tokens(page.read_text("utf-8")):
            fenced = token.type == "fence" and token.info.split()[:1] == ["yaml"]
            if fenced and token.content.lstrip().startswith("version:"):
                yield f"{page.relative_to(ROOT)}:{(token.map or [0])[0] + 1}", token.content


def is_pack(text: str) -> bool:
    return any(line.startswith("pack:") for line in text.splitlines())


def test_every_policy_and_every_pack_in_the_documents_loads() -> None:
    for place, text in files():
        if is_pack(text):
            load_pack(text, file=place)
        else:
            load_policy(text, file=place)
