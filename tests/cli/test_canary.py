"""``mitmgate canary``: bait is shown once, listed without its value, and found wherever it goes."""

from __future__ import annotations

import base64
import functools
import json
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from mitmgate.cli.canary import kinds, list_, new, remove
from mitmgate.errors import ConfigError
from mitmgate.scan.canary import KINDS, Canary, canary_name, canary_pack, canary_values
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve.canaries import CANARIES, load_canaries, save_canaries
from mitmgate.wire.surfaces import Surface

LINES = {
    "anthropic": "ANTHROPIC_API_KEY={}",
    "aws": "aws_access_key_id = {}",
    "database-url": "DATABASE_URL={}",
    "github": "GITHUB_TOKEN={}",
    "gitlab": "GITLAB_TOKEN={}",
    "google-api": "GOOGLE_API_KEY={}",
    "jwt": "Authorization: Bearer {}",
    "npm": "//registry.npmjs.org/:_authToken={}",
    "openai": "OPENAI_API_KEY={}",
    "password": "DB_PASSWORD={}",
    "slack": "SLACK_TOKEN={}",
    "stripe": "STRIPE_KEY={}",
}


@functools.cache
def installed() -> Scanner:
    return Scanner(installed_packs(), hash_key=b"k")


def planted(kind: str) -> Canary:
    return Canary("bait", kind, canary_values(kind), "the bin", "2026-01-01")


def test_every_kind_is_tried_here() -> None:
    assert set(LINES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_canary_looks_like_a_credential(kind: str) -> None:
    value = canary_values(kind)[0]
    found = installed().scan_text(Surface.ARGUMENTS, "", LINES[kind].format(value))
    assert any(finding.detector == "secrets" for finding in found), value[:8]


PLACES = {
    "as it is": "{}",
    "in a sentence": "I found {} there.",
    "in a URL": "https://x.example/?q={}&r=1",
    "in JSON": '{{"a": "{}"}}',
    "inside a word": "x{}x",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_canary_is_found_wherever_it_stands(kind: str) -> None:
    canary = planted(kind)
    scanner = Scanner([*installed_packs(), canary_pack([canary])], hash_key=b"k")
    for value in canary.values:
        texts = {name: form.format(value) for name, form in PLACES.items()}
        texts["percent"] = f"q={quote(value, safe='')}"
        texts["base64"] = f"blob: {base64.b64encode(f'key={value} '.encode()).decode()}"
        for name, text in texts.items():
            found = [
                finding
                for finding in scanner.scan_text(Surface.EGRESS_REQUEST, "", text)
                if finding.detector == "canary"
            ]
            assert found, name
            assert {finding.note for finding in found} == {"the canary planted at the bin"}
            assert {finding.severity for finding in found} == {"critical"}


def test_two_canaries_are_never_the_same() -> None:
    for kind in KINDS:
        assert not set(canary_values(kind)) & set(canary_values(kind))


NAMES = {
    "the .env of billing": "the-env-of-billing",
    "~/.git-credentials": "git-credentials",
    "///": "canary",
    "Überall": "berall",
}


@pytest.mark.parametrize(("place", "name"), NAMES.items(), ids=NAMES)
def test_a_name_comes_from_the_place(place: str, name: str) -> None:
    assert canary_name(place, ()) == name
    assert canary_name(place, (name,)) == f"{name}-2"


def test_a_new_canary_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("github", at="the  bin", state=tmp_path)
    out, err = capsys.readouterr()
    value = out.strip()
    assert load_canaries(tmp_path)[0].values == (value,)
    assert "planted as the-bin" in err
    assert value not in err
    list_(state=tmp_path)
    list_(as_json=True, state=tmp_path)
    assert value not in capsys.readouterr().out
    assert stat.S_IMODE((tmp_path / CANARIES).stat().st_mode) == 0o600


def test_the_list_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_canaries(tmp_path, [planted("jwt")])
    list_(as_json=True, state=tmp_path)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "bait", "kind": "jwt", "place": "the bin", "created": "2026-01-01"}
    ]


def test_a_canary_is_removed_by_its_name(tmp_path: Path) -> None:
    save_canaries(tmp_path, [planted("jwt")])
    with pytest.raises(ConfigError, match="did you mean bait"):
        remove("bat", state=tmp_path)
    remove("bait", state=tmp_path)
    assert load_canaries(tmp_path) == ()


def test_an_unknown_kind_is_told_of_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean github"):
        new("gihub", at="x", state=tmp_path)
    assert load_canaries(tmp_path) == ()


@pytest.mark.parametrize("place", ["", "  ", "x" * 201, "a\x1bb"])
def test_a_place_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="--at"):
        new("jwt", at=place, state=tmp_path)


def test_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    kinds()
    assert capsys.readouterr().out.split() == sorted(KINDS)


DAMAGED = {
    "half a file": '{"version": 1',
    "another version": '{"version": 2, "canaries": []}',
    "an empty canary": '{"version": 1, "canaries": [{"name": "a", "kind": "jwt", "values": [""], '
    '"place": "p", "created": "c"}]}',
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_told_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / CANARIES
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged"):
        new("jwt", at="x", state=tmp_path)
    assert path.read_text() == text
