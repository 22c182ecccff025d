"""The real program in a real terminal (tmux), the real proxy behind it, the official SDK client."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from harness import POLICY, Agent, Mcp

from mitmgate.ca.authority import ensure_ca
from mitmgate.cli.env import variables

WAIT = 40
SIZE = (140, 45)
CONFIG = """\
set -g default-terminal {term}
set -g remain-on-exit on
set -g status off
set -g escape-time 0
"""
NOTE = {"title": "t", "text": "b"}

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A tmux server of our own with ``mitmgate run`` in its only pane."""

    def __init__(self, folder: Path, command: list[str], *, term: str, **env: str) -> None:
        self._folder = folder
        config = folder / "tmux.conf"
        config.write_text(CONFIG.format(term=term))
        removed = {
            "TMUX", "TMUX_PANE", "NO_COLOR", "COLORTERM", "COLORFGBG", "COLUMNS", "LINES",
        }  # fmt: skip
        self._env = {name: value for name, value in os.environ.items() if name not in removed}
        self._env |= {"TMUX_TMPDIR": str(folder), "LC_ALL": "C.UTF-8"} | env
        self._config = config
        self("new-session", "-d", "-x", str(SIZE[0]), "-y", str(SIZE[1]), shlex.join(command))

    def __call__(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-u", "-L", "gate", "-f", str(self._config), *words],
            env=self._env, capture_output=True, text=True, timeout=WAIT, check=True,
        ).stdout  # fmt: skip

    def screen(self, *, styled: bool = False) -> str:
        return self("capture-pane", "-p", "-t", "0", *(["-e"] if styled else []))

    def until(self, what: str, condition: Callable[[str], object]) -> str:
        """Return the screen as soon as *condition* holds."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            shown = self.screen()
            if condition(shown):
                return shown
        raise AssertionError(f"no {what} on the screen:\n{self.screen()}")

    def shows(self, text: str) -> str:
        return self.until(repr(text), lambda shown: text in shown)

    def armed(self, text: str) -> None:
        """Wait until a decision key would be about a call that is named so."""
        self.until(f"armed key line and {text!r}",
                   lambda shown: text in shown and _last(shown).startswith(" ▸ "))  # fmt: skip

    def rest(self) -> None:
        """Let the console's clock go on by two ticks: what was typed has been seen by then."""
        for _ in range(2):
            before = _hour(self.screen())
            self.until(f"hour after {before}", partial(_later, before))

    def press(self, key: str) -> None:
        self("send-keys", "-t", "0", key)

    def resize(self, width: int, height: int) -> None:
        self("resize-window", "-t", "0", "-x", str(width), "-y", str(height))

    def close(self) -> None:
        """Interrupt what runs there, as a person would, and end the server."""
        try:
            self.press("C-c")
            self.until("dead pane", lambda _: self("list-panes", "-F", "#{pane_dead}") == "1\n")
        finally:
            self("kill-server")


def _last(shown: str) -> str:
    return shown.rstrip("\n").rpartition("\n")[2]


def _later(before: str, shown: str) -> bool:
    return _hour(shown) not in ("", before)


def _hour(shown: str) -> str:
    words = shown.partition("\n")[0].split()  # none while it is being drawn
    return words[-1] if words else ""


type Start = Callable[..., tuple[Terminal, Agent]]


@pytest.fixture
def start(tmp_path: Path, pki: tuple[Path, Path], mcp: Mcp) -> Iterator[Start]:
    """Run the gate and its console in a terminal, and an agent that goes through them."""
    with ExitStack() as stack:

        def run(*, term: str = "xterm-256color", **env: str) -> tuple[Terminal, Agent]:
            policy, state = tmp_path / "policy.yaml", tmp_path / "state"
            policy.write_text(POLICY.replace("MCP_PORT", str(mcp.port)))
            command = [
                sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0", "--policy",
                str(policy), "--state-dir", str(state), "--upstream-ca", str(pki[0]),
            ]  # fmt: skip
            terminal = Terminal(tmp_path, command, term=term, **env)
            stack.callback(terminal.close)
            terminal.shows("nothing waits")
            listen = json.loads((state / "run.json").read_text())["listen"]
            port = int(listen.rpartition(":")[2])
            named = variables(ensure_ca(state / "ca"), ("127.0.0.1", port))
            agent = Agent(mcp.url, "auto", {"PATH": os.environ["PATH"], **named})
            stack.callback(agent.close)
            return terminal, agent

        yield run


def test_one_key_each_decides_for_a_real_client(start: Start, mcp: Mcp) -> None:
    terminal, agent = start()
    agent.ask(call="save_note", arguments=NOTE)
    terminal.armed("save_note")
    assert mcp.calls == []
    terminal.press("Enter")
    terminal.press("Space")
    terminal.press("Escape")
    terminal.rest()
    terminal.armed("save_note")
    assert mcp.calls == []
    terminal.press("a")
    assert agent.read() == {"error": False, "text": "Saved 't'."}
    terminal.shows("✓ approved")
    terminal.shows("nothing waits")

    agent.ask(call="delete_notes", arguments={})
    terminal.armed("delete_notes")
    terminal.press("d")
    assert agent.read()["error"] is True
    terminal.shows("✗ denied")
    terminal.shows("nothing waits")

    again = {"title": "t", "text": "another"}
    agent.ask(call="save_note", arguments=again)
    terminal.armed("save_note")
    terminal.press("s")
    assert agent.read()["error"] is False
    assert agent.do(call="save_note", arguments=again)["error"] is False
    assert mcp.calls == [("save_note", NOTE), ("save_note", again), ("save_note", again)]

    for key, title in {"2": "─ Servers ─", "3": "─ Rules ─", "4": "─ Health ─"}.items():
        terminal.press(key)
        terminal.shows(title)
    terminal.press("Escape")
    terminal.shows("─ Live")


LOOKS: dict[str, tuple[str, dict[str, str], Callable[[set[str]], object]]] = {
    "256 colours": ("xterm-256color", {}, lambda codes: any("38;" in code for code in codes)),
    "16 colours": (
        "xterm-16color",
        {},
        lambda codes: codes and not any(code.startswith(("38;", "48;")) for code in codes),
    ),
    "no colour": (
        "xterm-256color",
        {"NO_COLOR": "1", "COLORTERM": "truecolor"},
        lambda codes: all(len(set(code.split(";")[2:5])) == 1 for code in codes
                          if code.startswith(("38;2;", "48;2;"))),
    ),
}  # fmt: skip
COLOUR = re.compile(r"(?<=[\[;])(?:[34]8;2;\d+;\d+;\d+|[34]8;5;\d+|3[0-7]|9[0-7])(?=[;m])")


@pytest.mark.parametrize("look", LOOKS)
def test_it_stands_poor_terminals_and_one_that_shrinks_to_nothing(
    start: Start, mcp: Mcp, look: str
) -> None:
    term, env, fits = LOOKS[look]
    terminal, agent = start(term=term, **env)
    agent.ask(call="save_note", arguments=NOTE)
    terminal.armed("save_note")
    terminal.shows("⏸ 1 waiting")
    styled = terminal.screen(styled=True)
    codes = set(COLOUR.findall(styled))
    assert fits(codes), sorted(codes)

    terminal.resize(1, 1)
    terminal.until("one cell", lambda shown: len(shown.strip()) <= 1)
    terminal.resize(80, 24)
    terminal.armed("save_note")
    terminal.resize(*SIZE)
    terminal.armed("save_note")
    assert mcp.calls == []
    terminal.press("a")
    assert agent.read()["error"] is False
    assert mcp.calls == [("save_note", NOTE)]
