"""The script for stock mitmproxy: ``mitmdump -s "$(python -m mitmgate.serve.stock)"``.

Run as a module it prints its own path. Prefer ``mitmgate run``: it is faster, and closes what
stock leaves open.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from mitmgate.judge.judge import Judge
from mitmgate.mitm.cutting import cut_servers
from mitmgate.mitm.resolve import resolve
from mitmgate.mitm.stock import StockAddon
from mitmgate.policy.remembered import Kept
from mitmgate.policy.source import PolicySource, locked_file
from mitmgate.scan.engine import Scanner
from mitmgate.serve.api import ControlApi
from mitmgate.serve.books import Books
from mitmgate.serve.control import ControlServer
from mitmgate.serve.inventory import FILE, kept_inventory
from mitmgate.serve.launch import glance, open_audit, start_of
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.remembered import FILE as REMEMBERED
from mitmgate.serve.state import default_state_dir, hash_key, locked_state
from mitmgate.serve.switch import KillSwitch


class StockService:
    """The pipeline and its control socket, for a proxy that somebody else runs."""

    def __init__(self, policy: str, state: str) -> None:
        self._stack = ExitStack()
        try:
            self._folder = self._stack.enter_context(
                locked_state(Path(state).absolute() if state else default_state_dir(os.environ))
            )
            kept = Kept(self._folder / REMEMBERED, hash_key(self._folder))
            source = PolicySource(Path(policy) if policy else None, locked_file(None), kept)
            rules = source.read()[0].policy
            scanner = Scanner(Books(self._folder).of(rules), hash_key=hash_key(self._folder))
            self._audit = open_audit(self._folder)
            self._stack.callback(self._audit.close)
        except BaseException:
            self._stack.close()
            raise
        self._core = Pipeline(Judge(rules, scanner), self._audit, log=_log)
        self._running = AsyncExitStack()

    @property
    def core(self) -> Pipeline:
        """Judges, records, holds."""
        return self._core

    async def start(self, listen: str) -> None:
        """Open the control socket, and show the operator key once."""
        core = self.core
        key = secrets.token_urlsafe(24)
        switch = KillSwitch(core, self._folder, cut_servers)
        await self._running.enter_async_context(switch.watching())
        api = ControlApi(core, lambda: glance(core, listen), key, switch=switch)
        kept = kept_inventory(core.judge.inventory, path=self._folder / FILE,
                              policy=core.judge.policy, scanner=core.judge.scanner,
                              log=_log)  # fmt: skip
        await self._running.enter_async_context(kept)
        control = ControlServer(api.app(), self._folder / "control.sock")
        await control.start()
        self._running.push_async_callback(control.stop)
        self._audit.append(start_of(core.judge, listen, time.time()))
        print(f"mitmgate: operator key {key}", file=sys.stderr)

    async def stop(self) -> None:
        """Deny what waits, and close everything."""
        self.core.close()
        await self._running.aclose()
        self._stack.close()


def _log(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    print(Path(__file__).absolute())
else:
    addons = [StockAddon(StockService, resolve)]
