"""``mitmgate rules``: what the scanner looks for, and rules of one's own tried."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer

from mitmgate.cli.rules import list_, show, try_
from mitmgate.errors import ConfigError

KEY = "acme_" + "5f2a9c"
PACK = """\
version: 1
pack: acme
kind: secrets
rules:
  - {id: secret.acme-own, title: Acme key, severity: high, pattern: '\\bacme_[0-9a-f]{6}\\b',
     keywords: [acme_], match: [[acme_, 5f2a9c]], clean: [acme_]}
"""
LOUD = """\
version: 1
pack: loud
kind: secrets
rules:
  - {id: secret.loud, title: Any token, severity: low, pattern: token, keywords: [token],
     match: [token], clean: [key]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "acme.yaml"
    path.write_text(text)
    return path


def test_rules_are_listed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    list_(kind="injection")
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith("injection.") for line in lines)


def test_rules_are_listed_by_provider_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    list_(provider="github", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert "secret.github-token" in {rule["id"] for rule in found}
    assert {rule["provider"] for rule in found} == {"github"}


def test_there_are_rules_for_at_least_250_providers(capsys: pytest.CaptureFixture[str]) -> None:
    list_(kind="secrets", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert len({rule["provider"] for rule in found} - {None}) >= 250


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are injection, pii, poisoning, secrets"):
        list_(kind="secret")


def test_a_rule_is_shown_without_its_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    show("secret.github-token")
    out = capsys.readouterr().out
    assert "GitHub token" in out
    assert "github.com" in out
    assert "ghp_CFal" not in out


def test_the_nearest_rule_is_told() -> None:
    with pytest.raises(ConfigError, match=r"did you mean secret\.github-token"):
        show("secret.github-tokn")


def test_a_good_pack_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try_([write(tmp_path, PACK)])
    assert capsys.readouterr().out == "ok acme (1 rules, their samples are as they say)\n"


def test_a_pack_that_fails_its_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not find this sample"):
        try_([write(tmp_path, PACK.replace("5f2a9c", "5f2a"))])


def test_a_pack_that_cries_wolf_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        try_([write(tmp_path, LOUD)])
    assert "secret.loud finds something in clean sample" in capsys.readouterr().out


def test_what_finds_something_in_a_text_is_told_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = write(tmp_path, PACK)
    try_([pack], text=f"x {KEY}")
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    try_([pack], text="-")
    out = capsys.readouterr().out
    assert out == "secret.acme-own 2-13\nsecret.acme-own 0-11\n"
    try_([pack], text="nothing")
    assert capsys.readouterr().err == "nothing is found\n"
