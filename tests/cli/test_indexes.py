"""``mitmgate indexes``: rules for what pip, npm and cargo say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitmgate.cli import indexes
from mitmgate.cli.app import invoke
from mitmgate.policy.call import request_call
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.load import load_policy

PROGRAMS = {
    "pip": "echo \"global.index-url='https://user:hunter2@index.example/simple'\"",
    "npm": """echo '{"registry": "https://registry.example:4873/", "x:_authToken": "hunter2"}'""",
}
SOURCES = "deb https://archive.example/debian stable main\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of a host with tools of its own."""
    for name, body in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    used = tmp_path / "cargo" / "registry" / "index" / "crates.example-0123456789abcdef"
    used.mkdir(parents=True)
    (used / "config.json").write_text('{"dl": "https://dl.example/crates"}')
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    (tmp_path / "apt" / "sources.list").write_text(SOURCES)
    (tmp_path / "apt" / "sources.list.d" / "x.save").write_text(SOURCES.replace("arch", "other"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "cargo"))
    monkeypatch.setattr(indexes, "_APT", tmp_path / "apt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_rules_can_be_pasted_and_open_what_the_tools_use(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.is_dir()
    assert invoke(["indexes"]) == 0
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    pasted = "".join(f"    {line}\n" for line in printed.splitlines())
    policy = load_policy(f"version: 1\negress:\n  rules:\n{pasted}", file="p")
    wanted = {
        "https://index.example/simple/x/": "index-pip",
        "https://registry.example:4873/x": "index-npm",
        "https://crates.example/cr/at/x": "index-cargo",
        "https://dl.example/crates/x": "index-cargo",
        "https://archive.example/debian/dists": "index-apt",
        "https://archive.example/other": "otherwise",
        "https://otherive.example/debian": "otherwise",
    }
    found = {url: decide_egress(policy, request_call(url, "GET", "a")).rule for url in wanted}
    assert found == wanted
    assert decide_egress(policy, request_call("https://index.example/", "POST", "a")).rule == (
        "otherwise"
    )


def test_one_tool_as_json(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.is_dir()
    assert invoke(["indexes", "pip", "--json"]) == 0
    assert [rule["id"] for rule in json.loads(capsys.readouterr().out)] == ["index-pip"]


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "printf '\\377'"])
def test_a_tool_that_says_nothing_useful(
    host: Path, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PROGRAMS:
        (host / name).write_text(f"#!/bin/sh\n{body}\n")
    assert invoke(["indexes", "pip", "npm"]) == 0
    assert "- {" not in capsys.readouterr().out


def test_a_tool_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["indexes", "gem"]) == 2
    assert "no tool is called gem" in capsys.readouterr().err
