"""Bad files and bad options: exit 2, what and where and what to do next, nothing half-written."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import mitmgate

from mitmgate.cli.app import invoke

type Refused = Callable[..., list[str]]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Refused]:
    """Run commands that have to be refused; return the problems they print."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str | Path) -> list[str]:
        code = invoke([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert (code, out) == (2, ""), err
        assert lines
        assert [line for line in lines if not line.startswith("error: ")] == []
        # Temporary files of ours begin with a dot and end in random letters.
        names = {path.name for path in tmp_path.rglob(".*") if path.is_file()}
        assert names <= {".lock"}
        return [line.removeprefix("error: ") for line in lines]

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)


POLICIES: dict[str, tuple[str | None, list[str]]] = {
    "a file that is not there": (None, [
        "FILE: no such file (check the path, or create the file)",
    ]),
    "an empty file": ("", ["FILE: the file is empty (start with version: 1)"]),
    "a file of comments": ("# soon\n", ["FILE: the file is empty (start with version: 1)"]),
    "a key that nobody knows": ("version: 1\ncolour: red\n", [
        "FILE:2: colour: unknown key (known keys: version, mode, contact, extends, network, "
        "agents, servers, mcp, egress, scan, hold)",
    ]),
    "the same key twice": ("version: 1\nmode: enforce\nmode: shadow\n", [
        "FILE:3: mode: duplicate key, first on line 2 (remove one)",
    ]),
    "a pattern that is none": (
        'version: 1\nmcp:\n  rules:\n    - {id: a, tool: "get_[a", then: allow}\n', [
            "FILE:4: mcp.rules.0.tool: bad glob: only * and ? are special, brackets and \\ are "
            "not supported; list the names instead",
        ]),
    "brackets that never close": ("version: 1\nmcp: [\n", [
        "FILE:3: not valid YAML: did not find expected node content (check the indentation, the "
        "quotes and the brackets)",
    ]),
    "several problems at once": (
        "version: 1\ncolour: red\nmcp:\n  rules:\n    - {id: a, then: alow}\n"
        'egress:\n  rules:\n    - {id: b, host: "*.*.com", then: allow}\n', [
            "FILE:2: colour: unknown key (known keys: version, mode, contact, extends, network, "
            "agents, servers, mcp, egress, scan, hold)",
            "FILE:5: mcp.rules.0.then: must be 'allow', 'ask' or 'deny' (did you mean allow?)",
            "FILE:8: egress.rules.0.host: a * is allowed only as the whole first label, as in "
            "*.example.com",
        ]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), POLICIES.values(), ids=POLICIES)
def test_a_bad_policy_is_refused_by_check_and_by_run_alike(
    text: str | None, problems: list[str], refused: Refused, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    if text is not None:
        file.write_text(text)
    state = tmp_path / "state"
    expected = [problem.replace("FILE", str(file)) for problem in problems]
    assert refused("check", file) == expected
    assert refused("run", "--policy", file, "--state-dir", state) == expected
    assert not state.exists()


OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "a place to listen without a port": (["--listen", "localhost"], [
        "--listen: not HOST:PORT: localhost (for example 127.0.0.1:8080)",
    ]),
    "a port that is too high": (["--listen", "127.0.0.1:65536"], [
        "--listen: not HOST:PORT: 127.0.0.1:65536 (for example 127.0.0.1:8080)",
    ]),
    "every address of this machine": (["--listen", "0.0.0.0:0"], [
        "--listen: 0.0.0.0 can be reached from other machines, and agents need no credentials: "
        "everybody there could use this proxy (set network.require_agents in the policy, listen "
        "on 127.0.0.1, or add --open)",
    ]),
    "every address, around the check": (["--set", "listen_host=0.0.0.0"], [
        "mitmproxy option listen_host: has an option of its own (use --listen)",
    ]),
    "every address, around the check by the mode": (["--mode", "regular@0.0.0.0:0"], [
        "--mode: a mode does not say where to listen (use --listen)",
    ]),
    "a name that only looks like loopback": (["--listen", "127.0.0.1.example.com:0"], [
        "--listen: 127.0.0.1.example.com can be reached from other machines, and agents need no "
        "credentials: everybody there could use this proxy (set network.require_agents in the "
        "policy, listen on 127.0.0.1, or add --open)",
    ]),
    "unsafe options, each by name": (
        ["--set", "http2=true", "--set", "rawtcp=true", "--set", "ignore_hosts=.", "--set",
         "server=false", "--set", "body_size_limit"], [
            "mitmproxy option http2: an HTTP/2 POST without content-length smuggles a second "
            "request (it has to be false)",
            "mitmproxy option rawtcp: raw TCP is forwarded unseen (it has to be false)",
            "mitmproxy option ignore_hosts: matching hosts bypass every check (it has to be "
            "empty)",
            "mitmproxy option server: nothing would listen (it has to be true)",
            "mitmproxy option body_size_limit: bodies would fill the memory (it has to be set, "
            "32m for example)",
        ]),
    "an option that nobody knows": (["--set", "colour=red"], [
        "Unknown option(s): colour (see `mitmgate run --help`)",
    ]),
    "a mode that nobody knows": (["--mode", "sideways"], [
        "Invalid proxy mode specification: sideways (unknown mode) (see `mitmgate run --help`)",
    ]),
    "a mode that is not supported": (["--mode", "socks5"], [
        "--mode: mode socks5 is not supported (use one of regular, reverse, transparent)",
    ]),
    "upstream roots that are not there": (["--upstream-ca", "TMP/missing.pem"], [
        "TMP/missing.pem: --upstream-ca: cannot be read: No such file or directory (give a PEM "
        "file of certificates)",
    ]),
    "upstream roots without a certificate": (["--upstream-ca", "TMP/text.pem"], [
        "TMP/text.pem: --upstream-ca: holds no PEM certificate, or a damaged one (give a PEM "
        "file of certificates)",
    ]),
    "upstream roots that are damaged": (["--upstream-ca", "TMP/damaged.pem"], [
        "TMP/damaged.pem: --upstream-ca: holds no PEM certificate, or a damaged one (give a PEM "
        "file of certificates)",
    ]),
    "an operator key that is too short": (["--operator-key-file", "TMP/text.pem"], [
        "TMP/text.pem: holds no operator key: 16 printable characters or more (for example: "
        "openssl rand -hex 24)",
    ]),
    "captures into a file": (["--capture", "TMP/text.pem"], [
        "TMP/text.pem: cannot write captures here: File exists (name a folder that you may write "
        "to with --capture)",
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("options", "problems"), OPTIONS.values(), ids=OPTIONS)
def test_a_bad_option_is_refused(
    options: list[str], problems: list[str], refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "text.pem").write_text("hello\n")
    (tmp_path / "text.pem").chmod(0o600)
    (tmp_path / "damaged.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    here = str(tmp_path)
    listen = [] if "--listen" in options else ["--listen", "127.0.0.1:0"]
    given = [option.replace("TMP", here) for option in options]
    found = refused("run", "--state-dir", tmp_path / "state", *listen, *given)
    assert found == [problem.replace("TMP", here) for problem in problems]
    assert not (tmp_path / "state" / "run.json").exists()
    assert not (tmp_path / "state" / "control.sock").exists()


def test_a_port_in_use_is_refused_and_the_next_start_has_a_clean_folder(
    refused: Refused, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        found = refused("run", "--listen", where, "--state-dir", tmp_path / "state",
                        "--capture", tmp_path / "captures")  # fmt: skip
    [problem] = found
    assert problem.startswith("--listen: ")
    assert where in problem
    assert "ddress already in use" in problem
    assert problem.endswith("(choose another port; port 0 picks a free one)")
    assert (tmp_path / "state" / "audit" / "audit.jsonl").read_bytes() == b""
    assert list((tmp_path / "captures").iterdir()) == []


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold *folder* as a running proxy does."""
    folder.mkdir(mode=0o700)
    handle = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def a_file(path: Path) -> None:
    path.write_text("hello\n")


def open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def below_a_file(path: Path) -> None:
    path.parent.write_text("hello\n")


def with_a_folder(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (path / name).mkdir(parents=True)
        path.chmod(0o700)

    return make


def with_a_file(name: str, text: str = "hello\n", mode: int = 0o600) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir(mode=0o700)
        (path / name).write_text(text)
        (path / name).chmod(mode)

    return make


# The folder, how to make it, and the problem.
STATES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "is a file": ("state", a_file, "STATE: cannot be made: File exists (choose another"),
    "is readable by others": (
        "state", open_to_others,
        "STATE: is open to other users (mode 755) (run: chmod 700 STATE)"),
    "cannot be made": (
        "file/state", below_a_file, "STATE: cannot be made: File exists (choose another"),
    "has a path too long for a socket": (
        "s" * 100, lambda _: None,
        "STATE/control.sock: the path of the control socket is too long for this system (choose "
        "a shorter --state-dir)"),
    "has a file for an audit folder": (
        "state", with_a_file("audit"), "STATE/audit: cannot be made: File exists (choose"),
    "has an audit folder that others can read": (
        "state", with_a_folder("audit/audit.jsonl"), "STATE/audit: is open to other users (mode"),
    "has a folder for a control socket": (
        "state", with_a_folder("control.sock"), "STATE/control.sock: cannot listen: "),
    "has a folder for a run file": (
        "state", with_a_folder("run.json"), "STATE/run.json: cannot be written: "),
    "has a damaged key": (
        "state", with_a_file("hash.key"),
        "STATE/hash.key: is damaged: it does not hold 32 bytes (remove it"),
    "has a key that others can read": (
        "state", with_a_file("hash.key", "x" * 32, 0o644),
        "STATE/hash.key: is open to other users (mode 644) (run: chmod 600 STATE/hash.key)"),
    "has a bad policy": (
        "state", with_a_file("policy.yaml", "version: 2\n"),
        "STATE/policy.yaml:1: version: must be 1"),
    "has a folder for a policy": (
        "state", with_a_folder("policy.yaml"),
        "STATE/policy.yaml: this is a directory (name the YAML file inside it)"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "problem"), STATES.values(), ids=STATES)
def test_a_state_folder_is_refused_that(
    name: str, make: Callable[[Path], None], problem: str, refused: Refused, tmp_path: Path
) -> None:
    state = tmp_path / name
    make(state)
    [found] = refused("run", "--listen", "127.0.0.1:0", "--state-dir", state)
    assert found.startswith(problem.replace("STATE", str(state)))


def test_a_state_folder_serves_one_proxy_at_a_time(refused: Refused, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with in_use(state):
        assert refused("run", "--listen", "127.0.0.1:0", "--state-dir", state) == [
            f"{state}: another mitmgate runs with this state folder (attach to it with `mitmgate "
            "tui`, or choose another --state-dir)"
        ]


HEADER = (
    '{"v":2,"type":"capture","tool":"t","policy":"p","mode":"enforce","shadow":false,'
    '"started":0.0,"run":"","keep":[],"segment":1,"canaries":[]}\n'
)
CAPTURES: dict[str, tuple[str, str]] = {
    "is empty": ("", "FILE:1: the file is empty (record a new"),
    "is something else": ('{"hello":1}\n', "FILE:1: the first line is not the header of"),
    "is no JSON": ("hello\n", "FILE:1: the text is not one JSON value (record a new"),
    "is of another version": (HEADER.replace('"v":2', '"v":9'), "FILE:1: capture version 9"),
    "has a damaged line": (HEADER + "{}\n", "FILE:2: unknown type None (record a new"),
    "has a line with a key twice": (
        HEADER + '{"type":"end","type":"end"}\n', "FILE:2: an object has the same key twice"),
    "was cut off": (HEADER + '{"type":"en', "FILE:2: the last line is cut off (remove that"),
    "lost lines": (HEADER + '{"type":"close","lines":7}\n', "FILE:2: 7 lines were written and 1"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), CAPTURES.values(), ids=CAPTURES)
def test_a_capture_is_refused_that(
    text: str, problem: str, refused: Refused, tmp_path: Path
) -> None:
    file = tmp_path / "capture-1.jsonl"
    file.write_text(text)
    (tmp_path / "capture-1.golden.jsonl").write_text("")
    [found] = refused("replay", tmp_path, "--state-dir", tmp_path / "state")
    assert found.startswith(problem.replace("FILE", str(file)))
    assert {path.name for path in tmp_path.iterdir()} == {
        "capture-1.jsonl", "capture-1.golden.jsonl",
    }  # fmt: skip


def test_captures_that_are_not_there_are_refused_all_at_once(
    refused: Refused, tmp_path: Path
) -> None:
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.mkdir()
    assert refused("replay", missing, empty, "--state-dir", tmp_path / "state") == [
        f"{missing}: no such file or folder (name a capture, or the folder given to `mitmgate "
        "run --capture`)",
        f"{empty}: no captures in this folder (record one with `mitmgate run --capture DIR`)",
    ]


def test_a_refused_start_exits_as_a_process_does(tmp_path: Path) -> None:
    done = mitmgate("run", "--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "state"),
                    "--set", "http2=true")  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: mitmproxy option http2: ")
    assert len(done.stderr.splitlines()) == 1
