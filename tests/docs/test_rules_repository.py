"""The example repository does what its page says: its files, its action, its hooks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from example_rules import EXAMPLE, record
from harness import mitmgate
from markdown_it import MarkdownIt

from mitmgate.record.capture import golden_path
from mitmgate.strictyaml import load
from mitmgate.testing import assert_decision, call, egress

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules-repository.md"
LOOSER = ("otherwise: ask", "otherwise: allow")
# It writes down what it is called with, one argument in a line, and plays no part itself.
SHIM = '#!/bin/sh\nprintf "%s\\n" "$@" "" >> "$CALLS"\n'


def yaml_of(path: Path) -> Any:
    return load(path.read_text(), file=str(path)).value


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the example repository."""
    return shutil.copytree(EXAMPLE, tmp_path / "rules")


def test_the_page_shows_every_file_of_the_example_and_no_other() -> None:
    block = next(token.content for token in MarkdownIt().parse(PAGE.read_text())
                 if token.type == "fence")  # fmt: skip
    shown = {line.split()[0] for line in block.splitlines()}
    files = (path for path in EXAMPLE.rglob("*") if path.is_file())
    there = {path.relative_to(EXAMPLE).as_posix() for path in files if ".pyc" not in path.name}
    assert shown == {name for name in there if not name.startswith((".pytest_cache/", "README"))}


def test_the_decisions_on_the_page_are_those_of_the_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = (token.content for token in MarkdownIt().parse(PAGE.read_text())
               if token.info == "python")  # fmt: skip
    monkeypatch.chdir(EXAMPLE)
    exec(code, {})  # noqa: S102 - our own page
    with pytest.raises(AssertionError):
        assert_decision("policy.yaml", egress("https://paste.example/new"), "allow")
    assert_decision("policy.yaml", call("save_note", server="notes"), "ask")


def test_the_capture_of_the_example_is_what_would_be_recorded_today(tmp_path: Path) -> None:
    made, there = record(EXAMPLE / "policy.yaml", tmp_path, "notes"), EXAMPLE / "captures"
    golden = golden_path(made)
    again = "make it anew: python tests/support/example_rules.py"
    assert golden.read_bytes() == (there / golden.name).read_bytes(), again
    # The first line tells the version of mitmgate, and the hash of the policy with its comments.
    new, old = (path.read_text().splitlines()[1:] for path in (made, there / made.name))
    assert new == old, again
    assert len(new) > 20


# The action


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml_of(ROOT / "action.yml")["runs"]["steps"]
    return found


def inputs_of(step: dict[str, Any], values: dict[str, str]) -> dict[str, str]:
    """Return the variables of *step* as GitHub gives them."""
    given = {name: text.removeprefix("${{ inputs.").removesuffix(" }}")
             for name, text in step.get("env", {}).items()}  # fmt: skip
    return {name: values[key] for name, key in given.items()}


def calls_of_the_action(folder: Path, values: dict[str, str]) -> list[list[str]]:
    """Run the scripts of the action in *folder*, as GitHub does; return the calls of mitmgate."""
    tools, calls = folder / ".tools", folder / ".calls"
    tools.mkdir()
    (tools / "mitmgate").write_text(SHIM)
    (tools / "mitmgate").chmod(0o755)
    for step in steps():
        if "pip install" in step["run"]:
            continue
        environment = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls),
            **inputs_of(step, values),
        }  # fmt: skip
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return [text.split("\n") for text in calls.read_text().removesuffix("\n\n").split("\n\n")]


def defaults(**changes: str) -> dict[str, str]:
    inputs = yaml_of(ROOT / "action.yml")["inputs"]
    return {name: str(told["default"]) for name, told in inputs.items()} | changes


def test_no_script_of_the_action_holds_an_expression() -> None:
    assert len(steps()) == 4
    for step in steps():
        assert "${{" not in step["run"], step["name"]
        assert step["shell"] == "bash"


def test_every_input_of_the_action_is_used_and_stands_on_the_page() -> None:
    inputs = yaml_of(ROOT / "action.yml")["inputs"]
    used = {key for step in steps() for key in inputs if f"inputs.{key} " in str(step.get("env"))}
    assert used == set(inputs)
    assert [key for key in inputs if f"| `{key}` |" not in PAGE.read_text()] == []


HOSTILE = "$(touch ran) `touch ran`; touch ran #"


def test_an_input_is_an_argument_and_never_a_command(rules: Path) -> None:
    values = {**dict.fromkeys(defaults(), HOSTILE), "captures": f"-x {HOSTILE}"}
    check, verify, replay = calls_of_the_action(rules, values)
    assert check == ["check", "--", HOSTILE]
    assert verify == ["capture", "verify", "--policy", HOSTILE, "--", f"-x {HOSTILE}"]
    assert replay == [
        "replay", "--policy", HOSTILE, "--junit", HOSTILE, "--coverage", "--fail-under", HOSTILE,
        "--", f"-x {HOSTILE}",
    ]  # fmt: skip
    assert not (rules / "ran").exists()


def test_the_action_passes_for_the_example_and_fails_where_more_gets_through(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rules)
    calls = calls_of_the_action(rules, defaults())
    for words in calls:
        done = mitmgate(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    loosen(rules)
    assert mitmgate(*calls[-1]).returncode == 3


def loosen(rules: Path) -> None:
    policy = rules / "policy.yaml"
    assert LOOSER[0] in policy.read_text()
    policy.write_text(policy.read_text().replace(*LOOSER))


def test_the_workflow_of_the_example_uses_the_action_with_its_inputs() -> None:
    workflow = yaml_of(EXAMPLE / ".github" / "workflows" / "rules.yml")
    assert workflow["permissions"] == {"contents": "read"}
    (used,) = (step for step in workflow["jobs"]["rules"]["steps"] if "/mitmgate@" in step["uses"])
    assert used["with"].keys() <= defaults().keys()


# The hooks

SECRET = "AKIA" + "QYLPMN5HHHFPZAM2"


def hooks() -> dict[str, dict[str, Any]]:
    return {str(hook["id"]): hook for hook in yaml_of(ROOT / ".pre-commit-hooks.yaml")}


def git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout


def run_hook(rules: Path, name: str) -> int | None:
    """Run a hook on what is staged, as pre-commit does; None: it has nothing to look at."""
    hook = hooks()[name]
    staged = git(rules, "diff", "--cached", "--name-only", "-z").split("\0")[:-1]
    files = [path for path in staged if re.search(str(hook["files"]), path)]
    if not files:
        return None
    words = [*shlex.split(str(hook["entry"])), *hook.get("args", ())]
    words += files if hook.get("pass_filenames", True) else []
    assert words[0] == "mitmgate"
    return mitmgate(*words[1:]).returncode


def test_the_example_uses_every_hook_that_there_is_and_no_other() -> None:
    (repo,) = yaml_of(EXAMPLE / ".pre-commit-config.yaml")["repos"]
    assert {str(hook["id"]) for hook in repo["hooks"]} == hooks().keys()
    assert [name for name in hooks() if f"- id: {name}\n" not in PAGE.read_text()] == []


def test_the_hooks_pass_for_the_example_and_stop_what_must_not_be_committed(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rules)
    git(rules, "init", "--quiet")
    git(rules, "add", ".")
    assert {name: run_hook(rules, name) for name in hooks()} == dict.fromkeys(hooks(), 0)
    git(rules, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "first")
    assert {name: run_hook(rules, name) for name in hooks()} == dict.fromkeys(hooks())
    loosen(rules)
    git(rules, "add", ".")
    assert run_hook(rules, "mitmgate-check") == 0
    assert run_hook(rules, "mitmgate-replay") == 3
    shutil.copy(rules / "captures" / "notes.jsonl", rules / "captures" / "leaky.jsonl")
    leaky = rules / "captures" / "leaky.jsonl"
    leaky.write_text(leaky.read_text().replace("Water the plants.", SECRET))
    git(rules, "add", ".")
    assert run_hook(rules, "mitmgate-capture-verify") == 1
