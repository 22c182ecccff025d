"""What every transport of a look has in common: bounds, trouble, and who answers whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mitmgate.wire.jsonrpc import Batch, Failure, Message, Request, Result, parse_message
from mitmgate.wire.strictjson import encode_json

METHOD_NOT_FOUND = -32601


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a server is looked at.

    ``seconds`` for all of it, ``size`` in bytes of decoded answers, ``pages`` of each list,
    ``read`` prompts and as many resources whose content is asked for.
    """

    seconds: float = 60.0
    size: int = 32 * 1024 * 1024
    pages: int = 1_000
    read: int = 100


class Trouble(Exception):
    """Why a look ended before its time: one sentence, and perhaps what to do about it.

    ``status`` is that of HTTP where an answer was no more than one. Nothing here quotes the
    server, nor what was sent to it.
    """

    def __init__(self, message: str, hint: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.status = status


LOCKED = frozenset({401, 403})
"""Statuses that say: not without a credential."""


def locked_out(status: int) -> Trouble:
    """Return what to raise for a *status* of ``LOCKED``: nothing else needs to be tried."""
    hint = "give --header 'Authorization: Bearer ...'"
    return Trouble(f"it lets nobody in without a credential ({status})", hint)


class Meter:
    """Counts the bytes of all answers of a look."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self._limit = limit

    def spend(self, size: int) -> None:
        """Count *size* bytes; Trouble when they are too many."""
        self.left -= size
        if self.left < 0:
            raise self.overdrawn()

    def overdrawn(self) -> Trouble:
        """Return what to raise when there is more than may be spent."""
        most = self._limit / (1024 * 1024)
        return Trouble(f"it answers with more than {most:.1f} MB, and the rest was not seen")


class Line(Protocol):
    """A connection to one server, on which requests are asked one after the other."""

    async def ask(self, request: Request) -> Result | Failure:
        """Return the answer to *request*, or raise Trouble, WireError or an error of I/O."""

    async def tell(self, method: str) -> None:
        """Send the notification *method*, without params."""

    def settle(self, version: str) -> None:
        """Say of which revision all further messages are."""


def encoded(message: Request) -> bytes:
    """Return *message* as the bytes of one line, without its end."""
    value: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id, "method": message.method}
    if message.params is not None:
        value["params"] = message.params
    return encode_json(value).encode()


def notification(method: str) -> bytes:
    """Return the notification *method* as bytes."""
    return encode_json({"jsonrpc": "2.0", "method": method}).encode()


def messages_in(text: str) -> tuple[Message, ...]:
    """Return the messages that *text* spells, one or a batch; WireError where it is none."""
    message = parse_message(text)
    return message.messages if isinstance(message, Batch) else (message,)


def answers(message: Message, asked: Request) -> bool:
    """Say whether *message* answers *asked*; one that failed without an id does.

    Some servers make a text of a number: clients take it all the same.
    """
    if isinstance(message, Failure) and message.id is None:
        return True
    return isinstance(message, Result | Failure) and str(message.id) == str(asked.id)


def reply_to(request: Request) -> bytes:
    """Return what is answered to a server that asks: that it is alive, and nothing else."""
    value: dict[str, Any] = {"jsonrpc": "2.0", "id": request.id}
    if request.method == "ping":
        value["result"] = {}
    else:
        value["error"] = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
    return encode_json(value).encode()
