"""An operator at the control socket: sees what waits, decides, and waits for nothing for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Desk:
    """Speaks to the control API of one proxy with its operator key."""

    def __init__(self, socket: Path, key: str) -> None:
        self._socket = socket
        self._headers = {"authorization": f"Bearer {key}"}

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self._socket))
        return httpx.Client(
            transport=transport, base_url="http://gate", headers=self._headers, timeout=20
        )

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Attach for the length of the block; give what happens, the snapshot first."""
        with self._client() as client, client.stream("GET", "/v1/events") as got:
            yield (json.loads(line) for line in got.iter_lines())

    def waiting(self) -> dict[str, Any]:
        """Return the oldest call that waits, as soon as one does."""
        with self.events() as events:
            for event in events:
                if event["type"] == "held":
                    held: dict[str, Any] = event["pending"]
                    return held
                if event["type"] == "snapshot" and event["pending"]:
                    first: dict[str, Any] = event["pending"][0]
                    return first
        raise AssertionError("nothing waits")

    def listed(self) -> list[dict[str, Any]]:
        """Return everything that waits, and what is detached."""
        with self._client() as client:
            entries: list[dict[str, Any]] = client.get("/v1/pending").json()["pending"]
        return entries

    def decide(self, entry: dict[str, Any], decision: str, reason: str | None = None) -> int:
        """Answer *entry*; return the status."""
        body = {"decision": decision, "reason": reason, "operator": "tester"}
        with self._client() as client:
            return client.post(f"/v1/pending/{entry['id']}", json=body).status_code
