"""``mitmgate ca`` prints a path for scripts, and for people what the key can do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mitmgate.ca.authority import ensure_ca
from mitmgate.cli.ca import app


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_path_prints_the_certificate_and_nothing_else(tmp_path: Path) -> None:
    printed = run("path", "--state-dir", str(tmp_path / "state"))
    assert printed == f"{tmp_path}/state/ca/mitmproxy-ca-cert.pem\n"
    assert Path(printed.strip()).exists()


def test_show_names_the_ca_its_power_and_the_next_command(tmp_path: Path) -> None:
    printed = run("show", "--state-dir", str(tmp_path / "state"))
    authority = ensure_ca(tmp_path / "state" / "ca")
    assert authority.subject in printed
    assert authority.fingerprint in printed
    assert str(authority.not_after.date()) in printed
    assert "Whoever holds the key" in printed
    assert 'eval "$(mitmgate env)"' in printed
    assert "PRIVATE KEY" not in printed


@pytest.mark.parametrize("command", ["path", "show"])
def test_help_ends_with_an_example(command: str) -> None:
    assert "Example: " in run(command, "--help")
