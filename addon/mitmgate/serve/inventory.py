"""The inventory of MCP servers beyond one run: ``servers.json`` in the state folder, and views.

Beside it ``cards.json`` keeps the agent cards that were accepted.

Names come from strangers: nothing is written or shown in which a rule finds a secret.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from mitmgate.ca.storage import write_whole
from mitmgate.control.models import Model, ServerView
from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.net.authority import normalise_authority
from mitmgate.policy.compiled import Policy
from mitmgate.record.lines import printable
from mitmgate.record.scrub import REDACTED, Scans, scrub
from mitmgate.serve.pins import FILE as CARDS_FILE
from mitmgate.serve.pins import restore_cards, write_cards
from mitmgate.wire.inventory import Inventory, SeenServer

FILE = "servers.json"
SAVE_SECONDS = 5.0
# Calls alone change the file only now and then: they are many, and a stop writes them anyway.
CALLS_EVERY = 60
_LARGEST = 128 * 1024 * 1024


class ServersFile(Model):
    """What ``servers.json`` holds."""

    # To Python, and so to a Literal, true equals 1.
    version: Annotated[int, Field(strict=True, ge=1, le=1)]
    servers: tuple[ServerView, ...]


class Views:
    """Makes what is shown of servers; remembers what was scrubbed, for most stay as they are."""

    def __init__(self, scanner: Scans) -> None:
        self._scanner = scanner
        self._scrubbed: dict[SeenServer, ServerView] = {}

    def of(self, seen: Iterable[SeenServer]) -> tuple[ServerView, ...]:
        """Return the views of *seen*, in their order."""
        made: dict[SeenServer, ServerView] = {}
        views = []
        for server in seen:
            names = replace(server, calls=0, first_seen=0, last_seen=0)
            view = made[names] = self._scrubbed.get(names) or self._view(names)
            times = {"first_seen": server.first_seen, "last_seen": server.last_seen}
            views.append(view.model_copy(update={"calls": server.calls, **times}))
        self._scrubbed = made
        return tuple(views)

    def _view(self, names: SeenServer) -> ServerView:
        return ServerView.model_validate(scrub(asdict(names), self._scanner))


def read_servers(path: Path) -> tuple[ServerView, ...]:
    """Return the servers in the file at *path*, none where it is missing.

    Raises ConfigError for a file that cannot be read or is damaged.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, "is larger than any that mitmgate writes")
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}") from error
    try:
        return ServersFile.model_validate_json(data).servers
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise _damaged(path, f"is damaged: {printable(said)}") from error


def _damaged(path: Path, message: str) -> ConfigError:
    hint = "the next `mitmgate run` moves it aside and starts a new one"
    return ConfigError(Problem(message, file=str(path), hint=hint))


def write_servers(path: Path, servers: Iterable[ServerView]) -> None:
    """Write *servers* whole to *path*; raise ConfigError where that cannot be done."""
    document = {"version": 1, "servers": [server.model_dump() for server in servers]}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    write_whole(path, text.encode() + b"\n", mode=0o600)


@asynccontextmanager
async def kept_inventory(
    inventory: Inventory,
    *,
    path: Path,
    policy: Policy,
    scanner: Scans,
    log: Callable[[str], None],
) -> AsyncIterator[None]:
    """Fill *inventory* from *path*, and keep the file true for the length of the block.

    A file that cannot be used is moved aside, and *log* says so; a failing write is logged and
    tried again.
    """
    inventory.restore(_loaded(path, policy, log))
    cards = path.with_name(CARDS_FILE)
    try:
        restore_cards(inventory.cards, cards)
    except ConfigError as error:
        moved = _move_aside(cards)
        log(f"trouble  {cards}: {error.problems[0].message}; {moved}")
    writer = _Writer(inventory, path, Views(scanner), log)
    stopping = asyncio.Event()
    working = asyncio.create_task(writer.work(stopping))
    try:
        yield
    finally:
        stopping.set()
        await working


class _Writer:
    """Writes an inventory whenever it changed, in a thread."""

    def __init__(
        self, inventory: Inventory, path: Path, views: Views, log: Callable[[str], None]
    ) -> None:
        self._inventory = inventory
        self._path = path
        self._views = views
        self._log = log
        self._revision = inventory.revision
        self._written = inventory.seen()
        self._cards = inventory.cards.revision
        self._failing = False

    async def work(self, stopping: asyncio.Event) -> None:
        """Look every few seconds until *stopping*, and then once more."""
        for turn in itertools.count(1):
            try:
                await asyncio.wait_for(stopping.wait(), SAVE_SECONDS)
            except TimeoutError:
                if self._is_changed() or turn % CALLS_EVERY == 0:
                    await self._save()
                continue
            await self._save()
            return

    async def _save(self) -> None:
        revision, seen = self._inventory.revision, self._inventory.seen()
        changed, cards = self._inventory.cards.revision, self._inventory.cards.all()
        if seen == self._written and changed == self._cards:
            return
        try:
            await asyncio.to_thread(self._write, seen)
            if changed != self._cards:
                await asyncio.to_thread(write_cards, self._path.with_name(CARDS_FILE), cards)
        except ConfigError as error:
            if not self._failing:
                self._log(f"trouble  the list of servers: {error}")
            self._failing = True
            return
        self._failing = False
        self._revision, self._written, self._cards = revision, seen, changed

    def _is_changed(self) -> bool:
        inventory = self._inventory
        return inventory.revision != self._revision or inventory.cards.revision != self._cards

    def _write(self, seen: tuple[SeenServer, ...]) -> None:
        write_servers(self._path, self._views.of(seen))


def _loaded(path: Path, policy: Policy, log: Callable[[str], None]) -> list[SeenServer]:
    try:
        views = read_servers(path)
    except ConfigError as error:
        moved = _move_aside(path)
        log(f"trouble  {error.problems[0].file}: {error.problems[0].message}; {moved}")
        return []
    return [_named(SeenServer(**dict(view)), policy) for view in views]


def _move_aside(path: Path) -> str:
    """Move the damaged file at *path* out of the way; return what came of it, in words."""
    target = path.with_name(f"{path.name}.damaged")
    for number in itertools.count(2):
        if not target.exists():
            break
        target = path.with_name(f"{path.name}.damaged-{number}")
    try:
        path.rename(target)
    except OSError as error:
        return f"it cannot be moved aside ({error.strerror}); what is seen starts anew"
    return f"it was moved to {target.name}; what is seen starts anew"


def _named(seen: SeenServer, policy: Policy) -> SeenServer:
    """Return *seen* with the name that *policy* gives it now: it may have changed meanwhile."""
    if REDACTED in seen.url:
        return seen
    scheme, _, rest = seen.url.partition("://")
    authority, slash, path = rest.partition("/")
    try:
        where = normalise_authority(authority)
    except WireError:
        return replace(seen, server=None)
    port = where.port or (80 if scheme == "http" else 443)
    return replace(seen, server=policy.server_for(scheme, where.host, port, slash + path))
