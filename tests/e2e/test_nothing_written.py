"""A proxy that is killed in the middle of a request has written no credential to any file."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
from harness import WEB_NAME, Gate, Mcp, Web
from leaks import left

RANDOM = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
WORDS = "sesame-0123456789-by-place"
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
CODE = "4-0AfJohXmQ2vB7cN9dKpLrTz1xWu"


def _client(gate: Gate) -> httpx.Client:
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    proxy = f"http://127.0.0.1:{gate.port}"
    return httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=30)


def _call(tool: str, text: str) -> dict[str, object]:
    arguments = {
        "text": f"see {text}", "password": WORDS, "note": f"Set-Cookie: a={WORDS}",
        "env": [{"name": "API_TOKEN", "value": WORDS}], "u": f"https://h/cb?code={CODE}&state=x",
    }  # fmt: skip
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


_HEADERS = {
    "authorization": f"Bearer {RANDOM}", "cookie": f"sid={WORDS}", "mcp-session-id": WORDS,
    "x-custom": CODE, "accept": "application/json, text/event-stream",
}  # fmt: skip


def _captured(gate: Gate) -> str:
    files = [path for path in gate.captures.glob("*.jsonl") if "golden" not in path.name]
    return "".join(path.read_text() for path in files)


def _files(*folders: Path) -> Iterator[str]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path.read_bytes().decode("latin-1")


def test_a_proxy_killed_in_the_middle_of_a_request_has_written_no_credential(
    gate: Gate, mcp: Mcp, web: Web
) -> None:
    url = f"https://{WEB_NAME}:{web.port}/{RANDOM}?code={CODE}&session_id={WORDS}&q={quote(KEY)}"

    def hold() -> None:
        with _client(gate) as held:
            try:
                held.post(mcp.url, json=_call("save_note", RANDOM), headers=_HEADERS)
            except httpx.HTTPError:
                return  # the proxy is gone

    waiting = threading.Thread(target=hold, daemon=True)
    with _client(gate) as client:
        client.get(url, headers=_HEADERS)
        client.post(mcp.url, json=_call("read_note", KEY), headers=_HEADERS)
        waiting.start()
        gate.wait_pending()
        while _captured(gate).count('"type":"request"') < 4:
            client.get(url, headers=_HEADERS)  # its writer is a moment behind
        gate.process.kill()
        gate.process.wait(20)
        waiting.join()
    types = [json.loads(line)["type"] for line in _captured(gate).splitlines()]
    assert "close" not in types
    written = [*_files(gate.state, gate.captures)]
    assert left(written, [RANDOM, WORDS, KEY, CODE]) == []
