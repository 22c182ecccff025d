"""What the judge remembers between the inputs of one exchange, and between exchanges.

Bounded everywhere; rebuilt by replay from the same inputs. Touched on the event loop only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from mitmgate.hold.grants import Grants
from mitmgate.hold.tickets import Tickets
from mitmgate.judge.budgets import Spent
from mitmgate.judge.fragments import Pieces, Tails, Trails
from mitmgate.judge.inputs import Shown
from mitmgate.judge.limits import Limits
from mitmgate.judge.oauth import TokenEndpoints
from mitmgate.judge.outcome import Subject
from mitmgate.policy.call import EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.wire.endpoints import Endpoint, EndpointTable
from mitmgate.wire.inventory import Inventory, Transport
from mitmgate.wire.jsonrpc import Request, RequestId
from mitmgate.wire.recognise import target_name
from mitmgate.wire.sessions import IdKey, Open, Session, Sessions, key_of

_MOST_AGENTS, _MOST_LISTS, _MOST_NAMES = 256, 256, 2_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A WebSocket that is not MCP: the request that opened it, whether a person was asked."""

    call: EgressCall
    asked: bool


@dataclass(slots=True)
class Exchange:
    """An open exchange. ``requests`` are what it asks, of their params only what they aim at.

    ``transport`` is how its messages travel, ``stream`` marks a GET that listens for them;
    ``home`` is the stream's endpoint and shown URL where this posts to the URL that a stream told.
    ``told`` is the URL that the ``endpoint`` event of this stream names, its query apart, until
    the event has gone on, ``channel`` what is posted there after that.
    ``session`` is the conversation it belongs to, ``joined`` the one its answer named besides;
    ``named`` says that the client gave a session id; ``shown`` are the client's credentials;
    ``policy`` is the one in force when it began.
    ``answered`` are the own requests that have their answer, ``answering`` what the server reads
    if the answers of the client are stopped; ``aims`` what the requests aim at, as it may be shown;
    ``numbers`` counts the outcomes. ``cost`` is how many bytes count against the ``budgets``,
    ``pieces`` what it carries where; ``opened`` is there where this is a WebSocket that is not MCP,
    ``tails`` where its answer comes as lines of JSON.
    """

    subject: Subject
    key: str = ""
    endpoint: Endpoint | None = None
    requests: tuple[Request, ...] = ()
    batch: bool = False
    modern: bool = False
    stream: bool = False
    home: tuple[Endpoint, str] | None = None
    told: tuple[Endpoint, str] | None = None
    channel: Session | None = None
    ends_session: str | None = None
    transport: Transport = Transport.STREAMABLE_HTTP
    session: Session | None = None
    named: bool = False
    shown: Shown | None = None
    policy: Policy | None = None
    joined: Session | None = None
    answered: set[IdKey] = field(default_factory=set)
    answering: dict[IdKey, Open] = field(default_factory=dict)
    aims: dict[IdKey, str | None] = field(default_factory=dict)
    numbers: int = 0
    cost: int | None = None
    budgets: tuple[str, ...] = ()
    pieces: Pieces = field(default=(), repr=False)
    opened: Opened | None = None
    tails: Tails = field(default_factory=dict, repr=False)

    @property
    def mcp(self) -> bool:
        """Whether this exchange is MCP."""
        return self.subject.channel == "mcp"

    @property
    def request(self) -> Request | None:
        """The one request of this exchange; None where there is none, or a batch."""
        return self.requests[0] if self.requests and not self.batch else None

    @property
    def answers_elsewhere(self) -> bool:
        """Whether what this exchange asks is answered on another stream, not by HTTP."""
        return self.transport is not Transport.STREAMABLE_HTTP

    @property
    def conversation(self) -> Session | None:
        """The conversation that what the server asks on this exchange belongs to."""
        return self.joined or self.session

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The conversations that a message of this exchange may belong to."""
        return tuple(session for session in (self.session, self.joined) if session is not None)

    def asked(self, answer_id: RequestId | None) -> bool:
        """Tell whether a request of this exchange has the id *answer_id*."""
        if answer_id is None:
            return False
        wanted = key_of(answer_id)
        return wanted in map(key_of, [request.id for request in self.requests])

    def next_number(self) -> int:
        """Return the number of the next outcome, and count it."""
        self.numbers += 1
        return self.numbers - 1


class Recent[T: Hashable]:
    """The last *limit* values that were learned; the longest unused is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[T, None] = OrderedDict()

    def learn(self, value: T) -> None:
        """Remember *value*."""
        self._values[value] = None
        self._values.move_to_end(value)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def knows(self, value: T) -> bool:
        """Tell whether *value* was learned."""
        return value in self._values


class Memory:
    """Endpoints that proved to be MCP, their conversations and tools, remembered answers.

    ``now`` is in seconds since the epoch, ``steady`` in seconds that no change of the clock moves.
    """

    def __init__(self, limits: Limits) -> None:
        self.endpoints = EndpointTable(limits.remembered)
        self.grants = Grants()
        self.sessions = Sessions(limits.remembered, gone=self.grants.end_session)
        self.inventory = Inventory()
        self.tokens = TokenEndpoints(limits.remembered)
        self.states = Recent[tuple[Endpoint, bytes]](limits.remembered)
        self.spent = Spent(limits.remembered)
        self.trails = Trails()
        self.tickets = Tickets()
        self.now = 0.0
        self.steady = 0.0
        self._limits = limits
        self._open: OrderedDict[str, Exchange] = OrderedDict()
        self._answers: OrderedDict[str, Literal["allow", "deny"]] = OrderedDict()
        self._annotations: OrderedDict[tuple[str, Endpoint, str], Mapping[str, bool]] = (
            OrderedDict()
        )
        self._listed: OrderedDict[str, dict[Endpoint, frozenset[str]]] = OrderedDict()
        self._poisoned: OrderedDict[tuple[str, Endpoint, str], str] = OrderedDict()
        self._params: OrderedDict[tuple[str, Endpoint, str], Mapping[str, str]] = OrderedDict()

    def open(self, exchange: Exchange) -> Exchange:
        """Remember *exchange*, keeping the outcome count of an earlier look at it."""
        earlier = self._open.pop(exchange.key, None)
        if earlier is not None:
            exchange.numbers = earlier.numbers
        self._open[exchange.key] = exchange
        while len(self._open) > self._limits.exchanges:
            self._close(self._open.popitem(last=False)[1])
        return exchange

    def get(self, key: str) -> Exchange | None:
        """Return the open exchange *key*, or None."""
        return self._open.get(key)

    def tails(self, key: str) -> Tails:
        """Return what the next line of JSON of exchange *key* follows."""
        exchange = self.get(key)
        return exchange.tails if exchange is not None else {}

    def end(self, key: str) -> None:
        """Forget exchange *key*."""
        ended = self._open.pop(key, None)
        if ended is not None:
            self._close(ended)

    def _close(self, exchange: Exchange) -> None:
        if exchange.channel is not None:
            self.sessions.close_channel(exchange.channel)
        if exchange.transport is Transport.WEBSOCKET:
            self.sessions.close_socket(exchange.key)

    def open_channel(self, exchange: Exchange) -> None:
        """Take in that the ``endpoint`` event of *exchange* went on (HTTP+SSE, 2024-11-05)."""
        if exchange.told is None or exchange.endpoint is None:
            return
        self._close(exchange)
        (endpoint, query), exchange.told = exchange.told, None
        self.endpoints.learn(endpoint)
        exchange.session = exchange.channel = self.sessions.open_channel(
            endpoint,
            query,
            server=exchange.subject.server,
            home=(exchange.endpoint, exchange.subject.endpoint),
        )

    def await_answers(self, exchange: Exchange) -> None:
        """Remember that the requests of *exchange* went out and are unanswered."""
        if exchange.mcp and exchange.endpoint is not None:
            self.tokens.spoke(exchange.endpoint)
        self.count(exchange)
        for request in exchange.requests:
            self.ask(exchange, request)

    def count(self, exchange: Exchange) -> None:
        """Count what *exchange* sends against its budgets, and remember its pieces."""
        if exchange.cost is not None:
            for budget in exchange.budgets:
                self.spent.add(exchange.subject.agent, budget, exchange.cost, now=self.now)
            exchange.cost = None
        if exchange.pieces and exchange.endpoint is not None:
            agent, host = exchange.subject.agent, exchange.endpoint.host
            self.trails.learn(agent, host, exchange.pieces)
            exchange.pieces = ()

    def ask(self, exchange: Exchange, request: Request, *, swapped: str | None = None) -> None:
        """Remember that *request* of the client went out; *swapped* as a ping, see ``Open``."""
        if exchange.session is not None:
            target = target_name(request.method, request.params)
            later = "cursor" in (request.params or ())
            shown = exchange.aims.get(key_of(request.id))
            opened = Open(request.method, exchange.key, target, later, swapped, shown)
            exchange.session.client.add(request.id, opened)

    def find(self, exchange: Exchange, answer_id: RequestId) -> Open | None:
        """Return the client's request that *answer_id*, seen on *exchange*, answers, or None."""
        for session in exchange.sessions:
            found = session.client.find(answer_id, exchange.key)
            if found is not None:
                return found
        return None

    def alike(self, exchange: Exchange, answer_id: RequestId) -> tuple[Open, ...]:
        """Return all requests that *answer_id*, seen on *exchange*, may answer."""
        return tuple(
            opened for session in exchange.sessions for opened in session.client.alike(answer_id)
        )

    def settle(self, exchange: Exchange, answer_id: RequestId | None) -> Open | None:
        """Return what :meth:`find` does and forget it: each request has one answer."""
        if answer_id is None or self.is_answered(exchange, answer_id):
            return None
        for session in exchange.sessions:
            found = session.client.settle(answer_id, exchange.key)
            if found is not None:
                if exchange.asked(answer_id):
                    exchange.answered.add(key_of(answer_id))
                return found
        return None

    def is_answered(self, exchange: Exchange, answer_id: RequestId) -> bool:
        """Tell whether the request *answer_id* of *exchange* has its answer already."""
        return key_of(answer_id) in exchange.answered

    def learn_params(self, exchange: Exchange, tool: str, params: Mapping[str, str]) -> None:
        """Remember which headers mirror arguments of *tool* (``x-mcp-header``, 2026-07-28).

        Lists may differ by identity, so what one agent was told is not held against another.
        """
        if exchange.endpoint is None:
            return
        key = (exchange.subject.agent, exchange.endpoint, tool)
        if not params:
            self._params.pop(key, None)
            return
        self._params[key] = params
        self._params.move_to_end(key)
        if len(self._params) > self._limits.remembered:
            self._params.popitem(last=False)

    def params_of(self, exchange: Exchange, tool: str | None) -> Mapping[str, str] | None:
        """Return what :meth:`learn_params` was told, None where nothing is known."""
        if exchange.endpoint is None or tool is None:
            return None
        return self._params.get((exchange.subject.agent, exchange.endpoint, tool))

    def learn_annotations(
        self, exchange: Exchange, tool: str, annotations: Mapping[str, bool]
    ) -> None:
        """Remember what the server said of *tool* (``ToolAnnotations``) to this agent."""
        if exchange.endpoint is None:
            return
        key = (exchange.subject.agent, exchange.endpoint, tool)
        self._annotations[key] = annotations
        self._annotations.move_to_end(key)
        if len(self._annotations) > self._limits.remembered:
            self._annotations.popitem(last=False)

    def annotations_of(self, exchange: Exchange, tool: str | None) -> Mapping[str, bool] | None:
        """Return what :meth:`learn_annotations` was told, None where the tool was in no list."""
        if exchange.endpoint is None or tool is None:
            return None
        home = exchange.home[0] if exchange.home is not None else exchange.endpoint
        for endpoint in (exchange.endpoint, home):
            found = self._annotations.get((exchange.subject.agent, endpoint, tool))
            if found is not None:
                return found
        return None

    def learn_listed(self, exchange: Exchange, names: Iterable[str], *, later: bool) -> None:
        """Remember the *names* of the tools in a list, *later* pages with those before them."""
        if exchange.endpoint is None:
            return
        agent = exchange.subject.agent
        known = self._listed.setdefault(agent, {})
        before = known.get(exchange.endpoint, frozenset()) if later else frozenset[str]()
        together = islice((*before, *names), _MOST_NAMES)
        # A new mapping each time: other threads read the old one.
        kept = list(known.items())[-_MOST_LISTS:]
        self._listed[agent] = {**dict(kept), exchange.endpoint: frozenset(together)}
        self._listed.move_to_end(agent)
        if len(self._listed) > _MOST_AGENTS:
            self._listed.popitem(last=False)

    def other_tools(self, exchange: Exchange) -> frozenset[str]:
        """Return the names of the tools that the agent of *exchange* has seen elsewhere."""
        lists = self._listed.get(exchange.subject.agent, {}).items()
        return frozenset().union(*(names for end, names in lists if end != exchange.endpoint))

    def learn_poisoned(
        self, exchange: Exchange, method: str, names: Mapping[str, str | None]
    ) -> None:
        """Remember which of the *names* in a list of what *method* is for were cut out of it.

        By name: the rule that found something, or None for one that is clean now.
        """
        if exchange.endpoint is None:
            return
        for name, rule in names.items():
            key = (exchange.subject.agent, exchange.endpoint, f"{method} {name}")
            self._poisoned.pop(key, None)
            if rule is not None:
                self._poisoned[key] = rule
        while len(self._poisoned) > self._limits.remembered:
            self._poisoned.popitem(last=False)

    def poisoned(self, exchange: Exchange, method: str, name: str | None) -> str | None:
        """Return the rule for which *name* was cut out of the list that this agent got."""
        if not self._poisoned or exchange.endpoint is None or name is None:
            return None
        home = exchange.home[0] if exchange.home is not None else exchange.endpoint
        for endpoint in (exchange.endpoint, home):
            rule = self._poisoned.get((exchange.subject.agent, endpoint, f"{method} {name}"))
            if rule is not None:
                return rule
        return None

    def remember(self, question: str, answer: Literal["allow", "deny"]) -> None:
        """Keep an operator's answer to *question* for as long as this process runs."""
        self._answers[question] = answer
        while len(self._answers) > self._limits.remembered:
            self._answers.popitem(last=False)

    def forget(self, question: str) -> None:
        """Ask *question* again: the operator took the answer back."""
        self._answers.pop(question, None)

    def remembered(self, question: str) -> Literal["allow", "deny"] | None:
        """Return the operator's earlier answer to *question*, or None."""
        return self._answers.get(question)
