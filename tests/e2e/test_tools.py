"""Ordinary tools with what ``mitmgate env`` tells and one rule: what they send and fetch is whole.

Each test then takes the rule away: the tool fails, and nobody connects to the server.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import pytest
from harness import WEB_NAME, Gate, Web
from peers import NODE, PEERS, needs_peers
from tool_servers import Answer, GitServer, NodeRegistry, PythonIndex, ToolServer

POLICY = """\
version: 1
network:
  resolve: {docs.upstream.example: 127.0.0.1}
mcp: {unknown_servers: deny}
egress:
  rules: [RULE]
  otherwise: deny
hold: {wait: 10s, unattended: deny}
"""
MEGABYTE = 1_000_000
PACK = 1_200_000  # git sends more than 1 MiB in chunks
NPM = PEERS / "nodejs" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
TOOLS_PYTHON = Path(__file__).parents[2] / ".tools" / "bin" / "python"
PIP = sys.executable if find_spec("pip") else str(TOOLS_PYTHON)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is missing")
needs_pip = pytest.mark.skipif(not Path(PIP).exists(), reason="pip is missing: run `make test`")


def serves(kind: type[Web]) -> pytest.MarkDecorator:
    """Say which server the tool speaks to."""
    return pytest.mark.parametrize("web_kind", [kind], ids=[""])


def noise(size: int) -> bytes:
    """Return bytes that no coding makes shorter, the same ones in every run."""
    return random.Random(size).randbytes(size)  # noqa: S311


@dataclass
class Desk:
    """A folder, a home with no settings in it, and a proxy that allows the server's host."""

    gate: Gate
    server: ToolServer
    folder: Path
    http: str
    """The version that the proxy speaks with who can."""

    @cached_property
    def told(self) -> dict[str, str]:
        return self.gate.agent_environment

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a tool to its end with what ``mitmgate env`` tells."""
        environment = {**self.told, "HOME": str(self.folder), **more}
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=40, check=False,
        )  # fmt: skip

    def does(self, *command: str | Path, **more: str) -> str:
        """Run a tool that must succeed, return what it prints."""
        done = self.run(*command, **more)
        assert done.returncode == 0, done.stderr + self.gate.policy.with_name("log").read_text()
        return done.stdout

    def close(self) -> None:
        """Take the rule away."""
        self.gate.policy.write_text(POLICY.replace("RULE", ""))
        done = self.gate.command("policy", "reload")
        assert done.returncode == 0, done.stderr

    def fails(self, *command: str | Path, **more: str) -> None:
        """Run a tool that must fail at the proxy, and reach nobody."""
        connections, asked = self.server.connections, len(self.server.asked)
        denied = len(self.gate.decisions(verdict="deny"))
        done = self.run(*command, **more)
        assert done.returncode != 0, done.stdout
        assert (self.server.connections, len(self.server.asked)) == (connections, asked)
        last = self.gate.decisions(verdict="deny")[denied:]
        assert {(one["rule"], one["host"]) for one in last} == {("otherwise", WEB_NAME)}


@pytest.fixture(params=[()], ids=[""])
def desk(
    web: ToolServer,
    start_gate: Callable[..., Gate],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Desk:
    rule = f"{{id: tools, host: {WEB_NAME}, ports: [{web.port}], then: allow}}"
    folder = tmp_path / "desk"
    folder.mkdir()
    gate = start_gate(POLICY.replace("RULE", rule), *request.param)
    return Desk(gate, web, folder, "2" if request.param else "1.1")


both_versions = pytest.mark.parametrize(
    "desk", [(), ("--http2",)], ids=["http1", "http2"], indirect=True
)


@needs_curl
@serves(ToolServer)
@both_versions
def test_curl_fetches_and_sends(desk: Desk) -> None:
    size = MEGABYTE if desk.http == "1.1" else MEGABYTE // 4
    data, server = noise(size), desk.server
    (desk.folder / "data.bin").write_bytes(data)
    server.files["/data.bin"] = Answer(data)
    curl = ("curl", "--silent", "--show-error", "--fail")

    said = desk.does(*curl, "-o", "got.bin", "-w", "%{http_version}", server.url("/data.bin"))
    assert said == desk.http
    assert (desk.folder / "got.bin").read_bytes() == data

    assert f"content-length: {size}" in desk.does(*curl, "--head", server.url("/data.bin"))
    assert server.asked[-1].method == "HEAD"

    assert desk.does(*curl, "-T", "data.bin", server.url("/put")) == str(size)
    assert (server.asked[-1].method, server.asked[-1].body) == ("PUT", data)

    (desk.folder / "small.bin").write_bytes(data[:100_000])
    desk.does(*curl, "-F", "note=plain words", "-F", "file=@small.bin", server.url("/form"))
    assert _parts(server) == {"note": b"plain words", "file": data[:100_000]}

    pipe = f"cat small.bin | {' '.join(curl)} -T - {server.url('/piped')}"  # no length is known
    assert desk.does("sh", "-c", pipe) == "100000"
    assert server.asked[-1].body == data[:100_000]

    desk.close()
    desk.fails(*curl, "--output", "more.bin", server.url("/data.bin"))
    desk.fails(*curl, "-T", "small.bin", server.url("/put"))
    desk.fails("sh", "-c", pipe)
    assert not (desk.folder / "more.bin").exists()


def _parts(server: ToolServer) -> dict[str, bytes]:
    asked = server.asked[-1]
    head = f"content-type: {asked.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + asked.body).get_payload()
    named = {}
    for part in parts:
        assert not isinstance(part, str)
        name = part.get_param("name", header="content-disposition")
        named[str(name)] = part.get_payload(decode=True)
    return named  # type: ignore[return-value]


HTTPX = """\
import sys, httpx
verb, url, name = sys.argv[1:]
with open(name, "rb" if verb == "PUT" else "wb") as file:
    if verb == "PUT":
        pieces = iter(lambda: file.read(70_000), b"")  # no length is known
        print(httpx.put(url, content=pieces).raise_for_status().text)
    else:
        with httpx.stream("GET", url) as answer:
            for piece in answer.raise_for_status().iter_bytes():
                file.write(piece)
"""


@serves(ToolServer)
def test_httpx_fetches_and_sends_in_pieces(desk: Desk) -> None:
    data, server = noise(MEGABYTE), desk.server
    (desk.folder / "data.bin").write_bytes(data)
    server.files["/data.bin"] = Answer(data)
    httpx = (sys.executable, "-c", HTTPX)
    desk.does(*httpx, "GET", server.url("/data.bin"), "got.bin")
    assert (desk.folder / "got.bin").read_bytes() == data
    assert desk.does(*httpx, "PUT", server.url("/put"), "data.bin") == f"{MEGABYTE}\n"
    assert (server.asked[-1].method, server.asked[-1].body) == ("PUT", data)
    desk.close()
    desk.fails(*httpx, "GET", server.url("/data.bin"), "more.bin")
    desk.fails(*httpx, "PUT", server.url("/put"), "data.bin")
    assert (desk.folder / "more.bin").read_bytes() == b""


@needs_git
@serves(GitServer)
def test_git_clones_and_pushes_packs_that_are_chunked(desk: Desk) -> None:
    server = desk.server
    assert isinstance(server, GitServer)
    server.root = desk.folder / "served"
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com")
    alone = {"GIT_CONFIG_NOSYSTEM": "1"}
    desk.does(*git, "init", "-q", "--bare", "-b", "main", "served/probe.git", **alone)
    url = server.url("/probe.git")

    desk.does(*git, "init", "-q", "-b", "main", "first", **alone)
    (desk.folder / "first" / "data.bin").write_bytes(noise(PACK))
    desk.does(*git, "-C", "first", "add", "data.bin", **alone)
    desk.does(*git, "-C", "first", "commit", "-q", "-m", "Some noise", **alone)
    told = desk.run(*git, "-C", "first", "push", "-q", url, "main", **alone, GIT_TRACE_CURL="1")
    assert told.returncode == 0, told.stderr
    assert "transfer-encoding: chunked" in told.stderr.lower()
    assert max(len(one.body) for one in server.asked) > PACK

    desk.does(*git, "clone", "-q", url, "second", **alone)
    assert (desk.folder / "second" / "data.bin").read_bytes() == noise(PACK)

    desk.close()
    desk.fails(*git, "clone", "-q", url, "third", **alone)
    desk.fails(*git, "-C", "first", "push", "-q", url, "main:other", **alone)


@needs_pip
@serves(PythonIndex)
def test_pip_downloads_a_wheel(desk: Desk) -> None:
    server = desk.server
    assert isinstance(server, PythonIndex)
    wheel = server.add("toolprobe", noise(MEGABYTE))
    pip = (PIP, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
           "--no-deps", "--retries", "0", "--index-url", server.url("/simple/"))  # fmt: skip
    alone = {"PIP_CONFIG_FILE": os.devnull}
    desk.does(*pip, "--dest", "got", "toolprobe", **alone)
    assert (desk.folder / "got" / "toolprobe-1.0-py3-none-any.whl").read_bytes() == wheel
    desk.close()
    desk.fails(*pip, "--dest", "more", "toolprobe", **alone)


@needs_peers
@serves(NodeRegistry)
def test_npm_installs_a_package(desk: Desk) -> None:
    server = desk.server
    assert isinstance(server, NodeRegistry)
    server.add("toolprobe", noise(MEGABYTE))
    npm = (NODE, NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0",
           "--no-update-notifier", f"--registry={server.url('/')}")  # fmt: skip
    desk.does(*npm, "--prefix=got", "--cache=cache", "toolprobe")
    got = desk.folder / "got" / "node_modules" / "toolprobe"
    assert (got / "data.bin").read_bytes() == noise(MEGABYTE)
    desk.close()
    desk.fails(*npm, "--prefix=more", "--cache=other", "toolprobe")
