"""What stands in the path of a server of the policy is put back at replay, and never written."""

from __future__ import annotations

import json

import pytest

from mitmgate.record.expansion import Redacted, expand
from mitmgate.record.ours import with_servers
from mitmgate.record.redact import Redactor
from mitmgate.scan.engine import Scanner

RANDOM = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
OTHER = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
PATHS = {
    "looks": f"/mcp/{RANDOM}",
    "ruled": f"/{KEY}/mcp",
    "plain": "/mcp/ordinary-words-only",
    "two": f"/mcp/{OTHER}/{RANDOM}",
}

TEXTS: dict[str, tuple[str, str]] = {
    "a path that looks random": ("target", f"/mcp/{RANDOM}"),
    "with more behind it": ("target", f"/mcp/{RANDOM}/messages?a=1"),
    "one that a rule knows": ("target", f"/{KEY}/mcp"),
    "two in one path": ("target", f"/mcp/{OTHER}/{RANDOM}"),
    "the URL in a JSON string": ("document", json.dumps({"u": [f"https://h/mcp/{RANDOM}/x"]})),
    "the path of its metadata": ("target", f"/.well-known/oauth-protected-resource/mcp/{RANDOM}"),
    "a form": ("form", f"a=1&u=https://h/mcp/{RANDOM}"),
    "a text": ("document", f"go to https://h/mcp/{RANDOM} now"),
    "no secret at all": ("target", "/mcp/ordinary-words-only"),
}


@pytest.fixture
def adopted(redactor: Redactor) -> Redactor:
    redactor.adopt(PATHS)
    return redactor


def _redacted(redactor: Redactor, kind: str, text: str) -> Redacted:
    redacted = getattr(redactor, kind)(text)
    assert isinstance(redacted, Redacted)
    return redacted


@pytest.mark.parametrize(("kind", "text"), TEXTS.values(), ids=TEXTS)
def test_put_back(adopted: Redactor, scanner: Scanner, kind: str, text: str) -> None:
    redacted = _redacted(adopted, kind, text)
    written = f"{redacted.text} {redacted.redactions}"
    assert not any(secret in written for secret in (RANDOM, OTHER, KEY))
    sample = with_servers(scanner.sample_for, PATHS)
    assert expand(redacted.text, redacted.redactions, sample) == text


def test_a_path_that_was_rotated_is_the_new_one(adopted: Redactor, scanner: Scanner) -> None:
    redacted = _redacted(adopted, "target", f"/mcp/{RANDOM}/x")
    rotated = with_servers(scanner.sample_for, {"looks": f"/mcp/{RANDOM[::-1]}"})
    assert expand(redacted.text, redacted.redactions, rotated) == f"/mcp/{RANDOM[::-1]}/x"


def test_a_server_that_is_gone_leaves_the_stand_in(adopted: Redactor, scanner: Scanner) -> None:
    redacted = _redacted(adopted, "target", f"/mcp/{RANDOM}/x")
    gone = with_servers(scanner.sample_for, {})
    assert expand(redacted.text, redacted.redactions, gone) == redacted.text
    assert len(redacted.text) == len(f"/mcp/{RANDOM}/x")


def test_another_secret_beside_it_is_no_part_of_it(adopted: Redactor, scanner: Scanner) -> None:
    target = f"/mcp/{RANDOM}/{OTHER[::-1]}?key={RANDOM}&q={RANDOM}12ab"
    redacted = _redacted(adopted, "target", target)
    assert RANDOM not in redacted.text
    again = expand(redacted.text, redacted.redactions, with_servers(scanner.sample_for, PATHS))
    assert again.startswith(f"/mcp/{RANDOM}/0000000")
    assert OTHER[::-1] not in again


def test_a_text_that_only_looks_like_a_stand_in_is_what_it_was(
    redactor: Redactor, scanner: Scanner
) -> None:
    redactor.adopt({"looks": f"/mcp/{RANDOM}"})
    shown = _redacted(redactor, "target", f"/mcp/{RANDOM[::-1]}").text
    again = _redacted(redactor, "target", shown)
    sample = with_servers(scanner.sample_for, PATHS)
    assert expand(again.text, again.redactions, sample) == shown
