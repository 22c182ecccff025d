"""A server that was there before is asked for no certificate again, and only that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from harness import OTHER_NAME, WEB_NAME, InProcess, Web

from mitmgate.mitm.fast import VARIABLE

POLICY = f"""\
version: 1
network:
  resolve: {{{WEB_NAME}: 127.0.0.1, {OTHER_NAME}: 127.0.0.1}}
egress:
  rules: [{{id: sites, host: [{WEB_NAME}, {OTHER_NAME}], methods: [GET], then: allow}}]
  otherwise: deny
"""


class Noting(Web):
    """Notes of each connection whether its session went on."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed: list[bool] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.resumed.append(writer.get_extra_info("ssl_object").session_reused)
        await super().handle(reader, writer)


@pytest.fixture
def web_kind() -> type[Web]:
    return Noting


@pytest.mark.parametrize(
    ("left_out", "names", "resumed"),
    [
        ("pool", (WEB_NAME, WEB_NAME, WEB_NAME), [False, True, True]),
        ("pool", (WEB_NAME, OTHER_NAME), [False, False]),
        ("pool,sessions", (WEB_NAME, WEB_NAME), [False, False]),
    ],
    ids=["the same server", "another name at the same address", "left out"],
)
def test_sessions_with_servers(
    left_out: str,
    names: tuple[str, ...],
    resumed: list[bool],
    run_proxy: Callable[..., InProcess],
    web: Noting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, left_out)
    proxy = run_proxy(policy=POLICY)
    for name in names:
        assert proxy.get(f"https://{name}:{web.port}/").status_code == 200
    assert web.resumed == resumed
