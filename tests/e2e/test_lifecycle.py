"""From the first start on a terminal to the last Ctrl-C: nothing lost, nobody left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from harness import POLICY, WEB_NAME, Agent, Gate, Mcp, Web, mitmgate

type StartGate = Callable[..., Gate]
type StartAgent = Callable[[Gate, str, str], Agent]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_end_denies_what_waits_and_leaves_whole_files(
    number: signal.Signals, gate: Gate, mcp: Mcp, web: Web, start_agent: StartAgent
) -> None:
    agent = start_agent(gate, mcp.url, "legacy")  # it keeps a stream open all the time
    assert agent.do(get=f"https://{WEB_NAME}:{web.port}/")["status"] == 200
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    agent.ask(call="save_note", arguments={"title": "t", "text": "b"})
    entry = gate.wait_pending()
    assert gate.command("pending").stdout.startswith(entry["id"])
    gate.process.send_signal(number)
    denied = agent.read()
    assert denied["error"] is True
    assert str(denied["text"]).startswith("The proxy is shutting down.")
    out, _, log = gate.end()
    assert (gate.process.returncode, out) == (0, "")
    assert [line for line in log.splitlines() if "trouble" in line or "Traceback" in line] == []
    assert mcp.calls == [("read_note", {"title": "x"})]
    [answer] = [record for record in gate.audit() if record["type"] == "resolution"]
    assert (answer["id"], answer["answer"], answer["via"]) == (entry["id"], "deny", "shutdown")
    left = {path.name for path in gate.state.iterdir()}
    assert left == {"audit", "ca", "hash.key", "run.lock", "servers.json", "upstream-roots.pem"}
    replayed = gate.command("replay", str(gate.captures), "--policy", str(gate.policy))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "without an end" not in replayed.stdout


def test_every_exchange_has_an_end_in_the_audit_file(
    gate: Gate, mcp: Mcp, start_agent: StartAgent
) -> None:
    agent = start_agent(gate, mcp.url, "legacy")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    assert gate.stop()[0] == 0  # while the client is there, with its stream
    decided = {record["exchange"] for record in gate.decisions(kind="request")}
    ended = {record["exchange"] for record in gate.audit() if record["type"] == "completion"}
    assert decided <= ended


def test_a_second_proxy_on_the_same_folder_is_refused_and_the_first_goes_on(
    gate: Gate, web: Web
) -> None:
    second = mitmgate("run", "--listen", "127.0.0.1:0", "--state-dir", str(gate.state))
    assert second.returncode == 2
    assert "another mitmgate runs with this state folder" in second.stderr
    assert get(gate, f"https://{WEB_NAME}:{web.port}/").text == "hello"
    assert gate.command("pending").stdout == "Nothing waits.\n"


def get(gate: Gate, url: str) -> httpx.Response:
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    proxy = f"http://127.0.0.1:{gate.port}"
    with httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=20) as client:
        return client.get(url)


def test_shadow_stops_nothing_by_rule_and_still_what_no_rule_decides(
    mcp: Mcp, web: Web, start_gate: StartGate, start_agent: StartAgent
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(mcp.port)), "--shadow")
    agent = start_agent(gate, mcp.url, "auto")
    done = agent.do(call="delete_notes", arguments={"force": True})
    assert done == {"error": False, "text": "All notes are gone."}
    assert agent.do(call="save_note", arguments={"title": "t", "text": "b"})["error"] is False
    assert [name for name, _ in mcp.calls] == ["delete_notes", "save_note"]
    shown = agent.do(get=f"https://paste.upstream.example:{web.port}/")
    assert (shown["status"], shown["text"]) == (200, "hello")
    [denied] = gate.decisions(tool="delete_notes", kind="request")
    assert (denied["verdict"], denied["rule"], denied["enforced"]) == (
        "deny", "no-mass-delete", False,
    )  # fmt: skip
    [asked] = gate.decisions(tool="save_note", kind="request")
    assert (asked["verdict"], asked["enforced"]) == ("ask", False)
    before = web.connections
    url = f"https://{WEB_NAME}:{web.port}/"
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    with httpx.Client(proxy=f"http://127.0.0.1:{gate.port}", verify=trust) as client:
        refused = client.get(url, headers={"host": "paste.upstream.example"})
    assert (refused.status_code, refused.json()["code"]) == (421, "host_mismatch")
    assert web.connections == before
    [mismatch] = gate.decisions(code="host_mismatch")
    assert (mismatch["verdict"], mismatch["enforced"]) == ("deny", True)
    code, log = gate.stop()
    assert code == 0
    assert "shadow mode: decisions are recorded, nothing is stopped by rule or scan" in log


PYTHON = (
    "import sys, urllib.request as u; answer = u.urlopen(sys.argv[1]); "
    "print(answer.status, answer.read().decode(), end='')"
)


def test_what_env_prints_leads_programs_through_the_gate(gate: Gate, web: Web) -> None:
    url = f"https://{WEB_NAME}:{web.port}/page"
    programs = {"python": [sys.executable, "-c", PYTHON, url]}
    if shutil.which("curl"):
        programs["curl"] = ["curl", "-sS", url]
    bare = {"PATH": os.environ["PATH"], "MITMGATE_STATE_DIR": str(gate.state)}
    for name, program in programs.items():
        script = f'eval "$("{sys.executable}" -m mitmgate env)" && exec "$@"'
        done = subprocess.run(["sh", "-c", script, "sh", *program], env=bare, check=False,
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("hello"), name
    assert len(web.requests) == len(programs)
    assert len(gate.decisions(host=WEB_NAME, verdict="allow")) == len(programs)
    # Without them the name leads nowhere: it was the gate that knew it.
    lost = subprocess.run(programs["python"], env=bare, check=False, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert lost.returncode != 0


@dataclass
class Terminal:
    """A program on a terminal of its own, and everything that it ever showed."""

    process: subprocess.Popen[bytes]
    handle: int
    text: str = ""
    read: int = field(default=0)

    def wait_for(self, wanted: str) -> str:
        """Read on until *wanted* is shown; return what came up to its end."""
        while wanted not in self.text[self.read :]:
            if not select.select([self.handle], [], [], 30)[0]:
                raise AssertionError(f"{wanted!r} was not shown: {self.text[self.read :]!r}")
            try:
                data = os.read(self.handle, 65536)
            except OSError:  # Linux says EIO where the other side has gone
                data = b""
            if not data:
                raise AssertionError(f"{wanted!r} was not shown: {self.text[self.read :]!r}")
            self.text += data.decode("utf-8", "replace")
        start, self.read = self.read, self.text.index(wanted, self.read) + len(wanted)
        return self.text[start : self.read]

    def type(self, keys: str) -> None:
        os.write(self.handle, keys.encode())

    def finish(self, *, pressing: str = "") -> int:
        """Read to the end, *pressing* a key each second; return the exit code."""
        waits = iter(range(30))
        while True:
            try:
                if not select.select([self.handle], [], [], 1)[0]:
                    if next(waits, None) is None:
                        raise AssertionError(f"does not end: {self.text[self.read :]!r}")
                    self.type(pressing)
                    continue
                data = os.read(self.handle, 65536)
            except OSError:
                data = b""
            if not data:
                break
            self.text += data.decode("utf-8", "replace")
        return self.process.wait(20)

    def nobody_is_left(self) -> bool:
        """Tell whether the whole process group has gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 0)
            return False
        return True


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start ``mitmgate run`` on terminals."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Terminal:
            ours, theirs = pty.openpty()
            stack.callback(os.close, ours)
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
            environment = {**os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path)}
            process = subprocess.Popen(
                [sys.executable, "-c",
                 "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
                 "from mitmgate.cli.app import invoke; sys.exit(invoke(sys.argv[1:]))",
                 "run", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"),
                 *arguments],
                stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                env=environment,
            )  # fmt: skip
            os.close(theirs)
            stack.callback(end_group, process)
            return Terminal(process, ours)

        yield start


def end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


CONSOLE = "\x1b[?1049h"  # the console takes the whole screen
CONSOLE_LEFT = "\x1b[?1049l"


def listening(shown: str) -> int:
    """Return the port of the ready line in *shown*."""
    [line] = [line for line in shown.splitlines() if line.startswith('{"ready"')]
    ready = json.loads(line)
    assert "operator_key" not in ready  # its console has it; a terminal is scrolled back
    return int(ready["listen"].rpartition(":")[2])


def test_on_a_terminal_it_asks_once_and_the_console_can_be_left(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    first = terminal()
    first.wait_for("Which model API does it need?")
    first.wait_for("A number, or another host")
    first.type("1\n")
    shown = first.wait_for(CONSOLE)
    port = listening(shown)
    assert "Paste into the agent's shell:" in shown
    assert f"export MITMGATE_STATE_DIR={tmp_path / 'state'}" in shown
    assert 'env)"' in shown
    first.wait_for("nothing waits")
    first.type("q")
    first.wait_for(CONSOLE_LEFT)
    first.wait_for("Enter opens the console again, Ctrl-C ends the gate")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET http://nowhere.example/ HTTP/1.1\r\nhost: nowhere.example\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 403 ")
    first.wait_for("nowhere.example")  # it logs again
    first.type("\x03")
    assert first.finish() == 0
    assert first.nobody_is_left()
    policy = tmp_path / "state" / "policy.yaml"
    assert mitmgate("check", str(policy)).returncode == 0

    second = terminal()
    shown = second.wait_for(CONSOLE)
    assert "Which model API" not in shown
    listening(shown)
    second.wait_for("nothing waits")
    second.type("\x03")  # in the console it is a key, and ends both
    second.wait_for(CONSOLE_LEFT)
    assert second.finish() == 0
    assert second.nobody_is_left()
    assert "Traceback" not in first.text + second.text
    left = {path.name for path in (tmp_path / "state").iterdir()}
    assert left == {"audit", "ca", "hash.key", "policy.yaml", "run.lock"}


def test_a_signal_ends_the_console_with_the_proxy(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\n")
    running = terminal("--policy", str(policy))
    running.wait_for(CONSOLE)
    running.wait_for("nothing waits")
    running.process.send_signal(signal.SIGTERM)
    running.wait_for(CONSOLE_LEFT)  # the terminal is given back as it was
    assert running.finish() == 0
    assert running.nobody_is_left()
    assert "Traceback" not in running.text


def test_no_answer_to_the_first_question_leaves_nothing_half_written(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    asked = terminal()
    asked.wait_for("A number, or another host")
    asked.type("no host at all!\n")
    asked.wait_for("[0]: ")
    # Python may be just before its read, which then waits on: people press the key again.
    assert asked.finish(pressing="\x03") != 0
    assert asked.nobody_is_left()
    assert "Traceback" not in asked.text
    assert list((tmp_path / "state").iterdir()) == []
