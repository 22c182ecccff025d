"""``mitmgate explain``: the decision, the rule, why, and the exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mitmgate.cli.explain import explain
from mitmgate.errors import ConfigError

POLICY = """\
version: 1
servers:
  github: {url: "https://api.githubcopilot.com/mcp/**"}
mcp:
  unknown_servers: ask
  rules:
    - id: no-force-push
      tool: push_*
      where: {/arguments/force: {equals: true}}
      then: deny
      reason: Force pushes need a person at the keyboard.
    - {id: reads, tool: get_*, then: allow}
    - {id: not-for-agents, tool: delete_*, then: deny, hide: true}
  otherwise: ask
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY, "utf-8")
    return path


def run(policy: Path, server: str, tool: str, args: str = "{}", *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught:
        explain(
            server=server, tool=tool, args=args, policy=policy, state=policy.parent / "state",
            as_json=as_json,
        )  # fmt: skip
    return caught.value.exit_code


CASES = {
    "allow exits 0": ("github", "get_me", "{}", 0, "reads"),
    "ask exits 3": ("github", "push_files", '{"force": false}', 3, "otherwise"),
    "deny exits 4": ("github", "push_files", '{"force": true}', 4, "no-force-push"),
    "a hidden tool exits 4": ("github", "delete_repo", "{}", 4, "not-for-agents"),
    "a key in two spellings exits 4": (
        "github",
        "push_files",
        '{"Force": true}',
        4,
        "ambiguous_key",
    ),
    "an unknown server is a question of its own": ("gitlab", "get_me", "{}", 3, "unknown_servers"),
}


@pytest.mark.parametrize(("server", "tool", "args", "code", "rule"), CASES.values(), ids=CASES)
def test_exit_codes(
    policy: Path, capsys: pytest.CaptureFixture[str],
    server: str, tool: str, args: str, code: int, rule: str,
) -> None:  # fmt: skip
    assert run(policy, server, tool, args, as_json=True) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["rule"] == rule
    assert [one["rule"] for one in answer["tried"] if one["matched"]] == [rule]
    assert {"verdict", "reason", "agent_reason", "policy", "source"} <= answer.keys()


def test_each_rule_tried_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(policy, "github", "get_me")
    out = capsys.readouterr().out
    assert out.startswith("allow\nrule    reads\n")
    assert "no-force-push: the tool is not push_*" in out
    assert "-> reads: every condition holds" in out
    assert "only the rules of the policy" in out


def test_a_condition_that_fails_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(policy, "github", "push_x")
    assert "where does not hold: /arguments/force equals true" in capsys.readouterr().out


def test_a_key_in_doubt_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(policy, "github", "push_x", '{"FORCE": true}')
    out = capsys.readouterr().out
    assert "-> ambiguous_key: rule no-force-push looks at /arguments/force" in out
    assert "FORCE" not in out


def test_that_a_tool_is_hidden_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(policy, "github", "delete_repo")
    told = capsys.readouterr().out
    assert "agent   Unknown tool.\nhidden  the tool is left out of tools/list" in told
    run(policy, "github", "delete_repo", as_json=True)
    assert json.loads(capsys.readouterr().out)["hidden"] is True
    run(policy, "github", "push_x", as_json=True)
    assert json.loads(capsys.readouterr().out)["hidden"] is False


def test_an_unknown_server_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(policy, "gitlab", "get_me")
    assert "no server of this policy is named 'gitlab'" in capsys.readouterr().out


def test_the_stricter_answer_counts_for_an_unknown_server(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(POLICY.replace("unknown_servers: ask", "unknown_servers: allow"), "utf-8")
    assert run(policy, "gitlab", "get_me", as_json=True) == 3
    assert json.loads(capsys.readouterr().out)["rule"] == "otherwise"


@pytest.mark.parametrize("args", ["", "[]", "{", '{"a": 1, "a": 2}', "null", "{} {}"])
def test_arguments_are_one_json_object(policy: Path, args: str) -> None:
    with pytest.raises(ConfigError, match="--args"):
        run(policy, "github", "get_me", args)


def test_the_command_line(policy: Path) -> None:
    app = typer.Typer()
    app.command()(explain)
    words = ["--policy", str(policy), "--server", "github", "--tool", "push_x"]
    shown = CliRunner().invoke(app, [*words, "--args", '{"force": true}', "--agent", "me"])
    assert (shown.exit_code, shown.stdout.split("\n")[0]) == (4, "deny")
    assert CliRunner().invoke(app, ["--server", "github"]).exit_code == 2
    assert "Example: " in CliRunner().invoke(app, ["--help"]).stdout


EGRESS = """\
version: 1
egress:
  rules:
    - {id: docs, host: docs.example, paths: /3, methods: GET, max_request: 1KB, then: allow}
    - {id: no-x, host: x.example, then: deny}
    - {id: agents, host: a2a.example, protocol: a2a, then: ask}
"""
# sentence: the options, the exit code, the rule, what is told
URLS: dict[str, tuple[list[str], int, str, str]] = {
    "a URL that is allowed": (
        ["https://docs.example/3/x?y"], 0, "docs", "-> docs: every condition holds"),
    "another path": (
        ["https://docs.example/2"], 4, "otherwise", "docs: the path is not below /3"),
    "another method": (
        ["https://docs.example/3", "--method", "post"], 4, "otherwise", "method is not GET"),
    "a body that is too large": (
        ["https://docs.example/3", "--size", "2KB"], 4, "docs", "larger than its max_request"),
    "a port that is closed": (
        ["https://docs.example:22/3"], 4, "connect_port", "no rule opens it"),
    "a host that is denied outright": (["https://x.example/"], 4, "no-x", "-> no-x"),
    "a protocol": (
        ["https://a2a.example/", "--protocol", "a2a"], 3, "agents", "every condition holds"),
    "a host with a tag": (
        ["https://pastebin.com/"], 4, "otherwise", "the host is tagged carrier"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "rule", "told"), URLS.values(), ids=URLS)
def test_urls(tmp_path: Path, words: list[str], code: int, rule: str, told: str) -> None:
    app = typer.Typer()
    app.command()(explain)
    path = tmp_path / "p.yaml"
    path.write_text(EGRESS, "utf-8")
    given = ["--policy", str(path), "--state-dir", str(tmp_path), "--url", *words]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == code
    assert told in shown.stdout
    found = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert found["rule"] == rule
    assert [one["rule"] for one in found["tried"] if one["matched"]] == [rule]


@pytest.mark.parametrize(
    "words", [["docs.example"], ["https://a b/"], ["https://docs.example/", "--size", "2"]]
)
def test_urls_and_sizes_that_are_none(tmp_path: Path, words: list[str]) -> None:
    app = typer.Typer()
    app.command()(explain)
    path = tmp_path / "p.yaml"
    path.write_text(EGRESS, "utf-8")
    given = ["--policy", str(path), "--state-dir", str(tmp_path), "--url", *words]
    assert isinstance(CliRunner().invoke(app, given).exception, ConfigError)
