"""The client's side of a live replay: what must come of each stream, and what came instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from mitmgate.errors import WireError
from mitmgate.judge.inputs import AnswerInput, EventInput, Input, RequestInput, Tunnel
from mitmgate.net.authority import normalise_authority
from mitmgate.replay.har import is_address
from mitmgate.serve.recorded import without_framing
from mitmgate.serve.spilled import Withheld
from mitmgate.serve.visits import UnplayableError, Visit
from mitmgate.wire.sse import SseDecoder

_OURS = frozenset({"content-type", "date"})


class Client(Visit):
    """A client that waits for what it must hear, in whatever form it comes."""

    async def send(self, given: RequestInput) -> None:
        """Send *given*; UnplayableError also where its URL names another server than its Host."""
        if (given.tunnel is None or given.tunnel.connect is None) and _is_elsewhere(given):
            raise UnplayableError("one name is sent for both")
        await super().send(given)

    async def heard(self, fits: Callable[[str], bool], *, after: int) -> str | None:
        """Wait until an event that *fits* is there behind the first *after*; return it."""

        def found() -> str | None:
            return next((text for text in self.texts[after:] if fits(text)), None)

        async with self._came:
            await self._came.wait_for(lambda: found() is not None or self.done.is_set())
        return found()

    def is_refused(self) -> bool:
        """Tell whether the proxy refused the tunnel, so that nothing was asked in it."""
        return self._reading is None and self.status is not None

    def notes(self) -> list[str]:
        """Return the comments and unknown fields of the events that came."""
        try:
            blocks = list(SseDecoder().feed(bytes(self.body)))
        except WireError:
            return []
        return [note for block in blocks for note in block.notes if note]


@dataclass(slots=True)
class Stream:
    """What must come of one stream of events, and what must not.

    ``known``: it was told already that something came through.
    """

    known: bool = False
    _withheld: Withheld = field(default_factory=Withheld)
    _meant: Counter[str] = field(default_factory=Counter)
    _any: bool = False

    def passes(self, given: EventInput, text: str | None) -> None:
        """Take in that *given* goes on, with *text* as its data where that is edited."""
        self._meant.update([given.data if text is None else text, *given.notes])
        if text is not None:
            self._withheld.add(given.data, meant=text)
            self._any = True

    def stops(self, given: EventInput, instead: str | None) -> None:
        """Take in that *given* is stopped, and what goes on in its place."""
        for text in (given.data, *given.notes):
            self._withheld.add(text, meant=instead or "")
        self._meant.update([] if instead is None else [instead])
        self._any = True

    def came_through(self, client: Client) -> bool:
        """Tell whether *client* has something that had to be kept back."""
        if self.known or not self._any:
            return False
        more = Counter([*client.texts, *client.notes()]) - self._meant
        return any(map(self._withheld.came_in, more))


def is_it(wanted: str, *, like: str | None = None) -> Callable[[str], bool]:
    """Return what tells whether a text is *wanted*, or holds any of *like*, where it is given."""
    kept = Withheld()
    if like is not None:
        kept.add(like)
    return lambda text: text in (wanted, like) or kept.came_in(text)


def spilled(given: AnswerInput, client: Client, meant: bytes) -> bool:
    """Tell whether *client* has something of *given*, which was stopped; *meant* had to come."""
    body = bytes(client.body)
    if body and body == given.body:
        return True
    kept, ours = Withheld(), _text(meant)
    kept.add(_text(given.body), meant=ours)
    return (body != meant and kept.came_in(_text(body))) or bool(
        _kept_headers(given.head.headers) & _kept_headers(client.headers)
    )


def _is_elsewhere(given: RequestInput) -> bool:
    head = given.head
    try:
        named = normalise_authority(given.authority or head.authority)
    except WireError:
        return True
    default = 443 if head.scheme == "https" else 80
    port = default if named.port is None else named.port
    return (named.host, port) != (head.host, head.port)


def _kept_headers(headers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {pair for pair in without_framing(tuple(headers)) if pair[0] not in _OURS}


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def in_tunnel(given: Input) -> Input:
    """Return *given* in a tunnel, where it came in TLS and no CONNECT was told.

    So it is in HAR files, and in captures of proxies that are not asked by CONNECT.
    """
    if not isinstance(given, RequestInput) or given.head.scheme != "https":
        return given
    tunnel, host = given.tunnel, given.head.host
    if tunnel is None or tunnel.connect is not None:
        return given
    if tunnel.sni is None and not is_address(host):
        return given  # asked for in the open, by its whole URL
    name = f"[{host}]" if ":" in host else host
    return replace(given, tunnel=Tunnel(f"{name}:{given.head.port}", tunnel.sni))
