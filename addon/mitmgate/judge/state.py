"""What the judge remembers between the inputs of one exchange, and between exchanges.

Bounded everywhere; rebuilt by replay from the same inputs. Touched on the event loop only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Literal

from mitmgate.judge.limits import Limits
from mitmgate.judge.outcome import Subject
from mitmgate.wire.endpoints import Endpoint, EndpointTable
from mitmgate.wire.jsonrpc import Request


@dataclass(slots=True)
class Exchange:
    """An open exchange. ``request`` has no params: nothing of the content is kept.

    ``batch`` are the requests of a refused batch, and
    ``stream`` marks a GET that listens for server messages; ``numbers`` counts the outcomes.
    """

    subject: Subject
    endpoint: Endpoint | None = None
    request: Request | None = None
    batch: tuple[Request, ...] = ()
    modern: bool = False
    stream: bool = False
    numbers: int = 0
    answered: bool = False

    @property
    def mcp(self) -> bool:
        """Whether this exchange is MCP."""
        return self.subject.channel == "mcp"

    @property
    def method(self) -> str | None:
        """The MCP method whose answer is awaited; ``""`` for a stream; None for egress."""
        if not self.mcp:
            return None
        return self.request.method if self.request is not None else ""

    def asked(self, answer_id: int | str | None) -> bool:
        """Tell whether the request of this exchange has the id *answer_id*."""
        return self.request is not None and self.request.id == answer_id

    def next_number(self) -> int:
        """Return the number of the next outcome, and count it."""
        self.numbers += 1
        return self.numbers - 1


# So many agents behind one address may wait for the same id at one endpoint.
_ALIKE = 64

type PendingKey = tuple[str, Endpoint, str, int | str]


class Memory:
    """Endpoints that proved to be MCP, open exchanges, unanswered ids, remembered answers."""

    def __init__(self, limits: Limits) -> None:
        self.endpoints = EndpointTable(limits.remembered)
        self._limits = limits
        self._open: OrderedDict[str, Exchange] = OrderedDict()
        self._unanswered: OrderedDict[PendingKey, deque[str]] = OrderedDict()
        self._answers: OrderedDict[str, Literal["allow", "deny"]] = OrderedDict()

    def open(self, key: str, exchange: Exchange) -> Exchange:
        """Remember *exchange* under *key*, keeping the outcome count of an earlier look."""
        earlier = self._open.pop(key, None)
        if earlier is not None:
            exchange.numbers = earlier.numbers
        self._open[key] = exchange
        while len(self._open) > self._limits.exchanges:
            self._open.popitem(last=False)
        return exchange

    def get(self, key: str) -> Exchange | None:
        """Return the open exchange *key*, or None."""
        return self._open.get(key)

    def end(self, key: str) -> None:
        """Forget exchange *key*."""
        self._open.pop(key, None)

    def await_answer(self, exchange: Exchange) -> None:
        """Remember that the request of *exchange* went out and is unanswered."""
        key = _pending_key(exchange, exchange.request.id if exchange.request else None)
        if key is not None and exchange.request is not None:
            self._unanswered.setdefault(key, deque(maxlen=_ALIKE)).append(exchange.request.method)
            self._unanswered.move_to_end(key)
            while len(self._unanswered) > self._limits.remembered:
                self._unanswered.popitem(last=False)

    def settle(self, exchange: Exchange, answer_id: int | str | None) -> str | None:
        """Return the method of the request that *answer_id* answers and forget it, or None.

        An answer may come on another stream of the same agent and endpoint (resumption,
        MCP 2025-11-25 basic/transports), so ids are matched there, never per HTTP flow. Every
        client counts from 0 or 1, so several may wait for the same id.
        """
        key = _pending_key(exchange, answer_id)
        waiting = self._unanswered.get(key) if key is not None else None
        if key is None or not waiting:
            return None
        own = exchange.request.method if exchange.asked(answer_id) and exchange.request else None
        method = own if own is not None and own in waiting else waiting[0]
        waiting.remove(method)
        if not waiting:
            del self._unanswered[key]
        return method

    def remember(self, question: str, answer: Literal["allow", "deny"]) -> None:
        """Keep an operator's answer to *question* for as long as this process runs."""
        self._answers[question] = answer
        while len(self._answers) > self._limits.remembered:
            self._answers.popitem(last=False)

    def remembered(self, question: str) -> Literal["allow", "deny"] | None:
        """Return the operator's earlier answer to *question*, or None."""
        return self._answers.get(question)


def _pending_key(exchange: Exchange, answer_id: int | str | None) -> PendingKey | None:
    if exchange.endpoint is None or answer_id is None:
        return None
    # The type is part of the key: the ids 1 and "1" are two requests.
    return exchange.subject.agent, exchange.endpoint, type(answer_id).__name__, answer_id
