"""The same gate inside stock mitmdump and mitmweb: it denies there too, and says what is open."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from harness import POLICY, WEB_NAME, Web, ended

import mitmgate.serve.stock

FAILING = """\
import mitmgate.mitm.gate as gate
async def broken(self, flow):
    raise RuntimeError("on purpose")
gate.Gate.request = broken
"""


@pytest.fixture
def stock(
    tmp_path: Path, pki: tuple[Path, Path]
) -> Iterator[Callable[..., tuple[httpx.Client, list[str]]]]:
    """Start a stock tool with the gate; give a client through it and what it printed so far."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("MCP_PORT", "9"))
    with ExitStack() as stack:

        def start(
            tool: str, *arguments: str, first: tuple[str, ...] = ()
        ) -> tuple[httpx.Client, list[str]]:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(tool)), *first,
                 "-s", mitmgate.serve.stock.__file__,
                 "--listen-host", "127.0.0.1", "--listen-port", "0",
                 "--set", f"mitmgate_policy={policy}",
                 "--set", f"mitmgate_state_dir={tmp_path / 'state'}",
                 "--set", f"confdir={tmp_path / 'conf'}",
                 "--set", f"ssl_verify_upstream_trusted_ca={pki[0]}", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
            stack.callback(ended, process)
            lines: list[str] = []
            assert process.stdout is not None
            while not (lines and "operator key" in lines[-1]):
                line = process.stdout.readline()
                assert line, "".join(lines)
                lines.append(line)
            transport = httpx.HTTPTransport(uds=str(tmp_path / "state" / "control.sock"))
            with httpx.Client(transport=transport) as control:
                listen = control.get("http://gate/v1/state").json()["listen"]
            trust = ssl.create_default_context(
                cafile=str(tmp_path / "conf" / "mitmproxy-ca-cert.pem")
            )
            client = httpx.Client(
                proxy=f"http://{listen}", verify=trust, trust_env=False, timeout=20
            )
            return stack.enter_context(client), lines

        yield start


@pytest.mark.parametrize("tool", ["mitmdump", "mitmweb"])
def test_the_gate_works_inside(
    tool: str, stock: Callable[..., tuple[httpx.Client, list[str]]], web: Web
) -> None:
    extra = ["--no-web-open-browser", "--web-port", "0"] if tool == "mitmweb" else []
    client, printed = stock(tool, *extra)
    assert client.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
    reached = len(web.requests)
    denied = client.get(f"https://paste.upstream.example:{web.port}/")
    assert (denied.status_code, denied.json()["rule"]) == (403, "otherwise")
    assert len(web.requests) == reached == 1
    said = "".join(printed)
    assert "stock mitmproxy leaves open: mitmproxy option connection_strategy: eager" in said
    assert "an edit that breaks this script unloads the gate" in said


def test_a_hook_that_raises_denies_inside_stock_too(
    stock: Callable[..., tuple[httpx.Client, list[str]]], web: Web, tmp_path: Path
) -> None:
    failing = tmp_path / "failing.py"
    failing.write_text(FAILING)
    client, _ = stock("mitmdump", first=("-s", str(failing)))
    answer = client.get(f"https://{WEB_NAME}:{web.port}/")
    assert answer.status_code == 502
    assert web.requests == []
