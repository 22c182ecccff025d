"""The proxy is killed in the middle: what a client saw stands in the audit file, in whole lines."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace

import httpx
from harness import POLICY, WEB_NAME, Gate, Mcp, Web

THREADS = 4
ANSWERS = 60  # in all, before the kill


class Traffic:
    """Clients that ask for numbered pages until the proxy is gone; every answer is kept."""

    def __init__(self, gate: Gate, port: int, until: Callable[[], bool] = lambda: True) -> None:
        self.seen: dict[str, int] = {}
        self.enough = threading.Event()
        self._gate = gate
        self._port = port
        self._until = until
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, thread: int) -> None:
        trust = ssl.create_default_context(cafile=self._gate.ready["ca"])
        proxy = f"http://127.0.0.1:{self._gate.port}"
        with httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=20) as client:
            for number in range(100_000):
                # Every third one is denied: a decision that no server ever saw.
                host = "paste.upstream.example" if number % 3 == 0 else WEB_NAME
                url = f"https://{host}:{self._port}/page-{thread}-{number}"
                try:
                    self.seen[url] = client.get(url).status_code
                except httpx.HTTPError:
                    return
                if len(self.seen) >= ANSWERS and self._until():
                    self.enough.set()


def test_kill_leaves_every_decision_that_a_client_saw_and_whole_lines(
    gate: Gate, mcp: Mcp, web: Web, start_gate: Callable[..., Gate]
) -> None:
    with Traffic(gate, web.port) as traffic:
        assert traffic.enough.wait(60)
        gate.process.kill()
        assert gate.process.wait(20) == -9
    file = gate.state / "audit" / "audit.jsonl"
    assert file.read_bytes().endswith(b"\n")
    decided = {record["endpoint"]: record["verdict"] for record in gate.decisions(kind="request")}
    verdicts = {200: "allow", 403: "deny"}
    assert {url: verdicts[status] for url, status in traffic.seen.items()}.items() <= (
        decided.items()
    )
    assert {"allow", "deny"} == set(decided.values())

    # The next start finds a stale socket and run file, and a line that a power cut tore.
    assert (gate.state / "control.sock").exists()
    assert (gate.state / "run.json").exists()
    before = file.read_bytes()
    torn = b'{"v":1,"type":"decis'
    file.write_bytes(before + torn)
    policy = POLICY.replace("MCP_PORT", str(mcp.port))
    again = start_gate(policy, "--state-dir", str(gate.state), name="again")
    again = replace(again, state=gate.state)
    assert again.ready["ca"] == gate.ready["ca"]
    with Traffic(again, web.port) as traffic:
        assert traffic.enough.wait(60)
        assert again.command("pending").stdout == "Nothing waits.\n"
        assert again.stop()[0] == 0
    lines = file.read_bytes().removeprefix(before).splitlines()
    assert lines[0] == torn
    records = [json.loads(line) for line in lines[1:]]
    assert [record["type"] for record in records[:2]] == ["note", "start"]
    assert "cut off" in records[0]["note"]
    shown = again.command("audit", "tail", "--state-dir", str(gate.state))
    number = len(before.splitlines()) + 1
    assert shown.stderr == (
        f"warning: {file}:{number}: the line is not JSON (left out; the other lines are shown)\n"
    )


def test_the_capture_of_a_killed_proxy_still_replays(gate: Gate, web: Web) -> None:
    def writing() -> bool:
        return any(path.stat().st_size > 20_000 for path in gate.captures.iterdir())

    with Traffic(gate, web.port, until=writing) as traffic:
        assert traffic.enough.wait(60)
        gate.process.kill()
        gate.process.wait(20)
    [capture] = [path for path in gate.captures.glob("*.jsonl") if "golden" not in path.name]
    types = [json.loads(line)["type"] for line in capture.read_text().splitlines()]
    assert types[0] == "capture"
    assert "close" not in types
    done = gate.command("replay", str(gate.captures), "--policy", str(gate.policy))
    assert done.returncode == 0, done.stdout + done.stderr
