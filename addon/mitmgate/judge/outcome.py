"""What a judgement gives: values that audit, console, captures and goldens are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mitmgate.hold.target import On
from mitmgate.policy.verdict import ShadowMatch, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Change

type Kind = Literal["connect", "request", "dial", "answer", "event", "message"]
type Channel = Literal["mcp", "egress"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who wanted what of whom; no arguments, no query, nothing secret.

    ``server`` is the name in the policy; ``endpoint`` the URL without its query.
    ``method`` is the MCP method, or the HTTP method for egress. ``tool`` names the tool,
    prompt or resource of the call, if any. ``protocol_version`` is the MCP revision.
    ``protocol`` is what egress speaks where it is more than HTTP; ``tags`` are those of its host.
    """

    agent: str
    channel: Channel
    host: str
    port: int
    endpoint: str
    method: str
    server: str | None = None
    tool: str | None = None
    protocol_version: str | None = None
    protocol: str | None = None
    tags: tuple[str, ...] = ()

    def in_mcp(self, version: str | None) -> Subject:
        """Return the same subject, speaking MCP of revision *version*."""
        return Subject(
            self.agent, "mcp", self.host, self.port, self.endpoint, self.method, self.server,
            self.tool, version, self.protocol, self.tags,
        )  # fmt: skip

    def aimed(self, method: str, tool: str | None) -> Subject:
        """Return the same subject with another method and target."""
        return Subject(
            self.agent, self.channel, self.host, self.port, self.endpoint, method, self.server,
            tool, self.protocol_version, self.protocol, self.tags,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision. ``verdict`` and ``edits`` are orthogonal: an approval keeps the edits.

    ``number`` counts the outcomes of one exchange from 0; ``id`` is ``exchange.number``.
    ``rule`` names the rule that decided, built-in ones included; ``code`` is the stable
    outcome_reason (``rule``, ``finding``, ``host_mismatch`` ...). ``reason`` is for the
    operator, ``agent_reason`` may be read by the agent. ``enforced`` is False where shadow
    mode let through what the verdict would have stopped.
    ``severity`` is what the rule says of itself; ``shadow`` names a rule in shadow mode that would
    have decided otherwise. ``floor`` and ``floor_edits`` are what the locked layer wants in any
    case.
    ``question`` groups holds that one answer settles; None: an answer settles this one only.
    ``parts`` are the decisions on the messages of a batch, in their order; the outcome itself is
    the strictest of them, and only it is enforced. ``grant`` is the id of the remembered answer,
    or of the ticket, that decided. ``wait`` is how many seconds the rule that decided lets an ask
    wait for a person, None: as long as the policy says.
    """

    exchange: str
    number: int
    kind: Kind
    subject: Subject
    verdict: Verdict
    rule: str
    code: str
    reason: str
    agent_reason: str
    policy: str
    findings: tuple[Finding, ...] = ()
    edits: tuple[Change, ...] = ()
    enforced: bool = True
    question: str | None = None
    severity: str | None = None
    shadow: ShadowMatch | None = None
    floor: Verdict = Verdict.ALLOW
    floor_edits: tuple[Change, ...] = ()
    parts: tuple[Outcome, ...] = ()
    grant: str | None = None
    wait: float | None = None

    @property
    def id(self) -> str:
        """``exchange.number``: unique in one audit file, and short enough to type."""
        return f"{self.exchange}.{self.number}"

    @property
    def effective(self) -> Verdict:
        """What is done: the verdict where it is enforced, else what the locked layer wants."""
        return self.verdict if self.enforced else self.floor

    @property
    def effective_edits(self) -> tuple[Change, ...]:
        """The edits that are made: all where it is enforced, else those of the locked layer."""
        return self.edits if self.enforced else self.floor_edits


type Answer = Literal["allow", "deny"]
type Via = Literal[
    "console",
    "shell",
    "api",
    "timeout",
    "unattended",
    "client_left",
    "queue_full",
    "shutdown",
    "kill_switch",
    "remembered",
    "policy",
]
type Lasting = Literal["once", "session", "time", "ever"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of a held outcome: who answered, how, and after how many seconds.

    ``lasting`` and ``on`` are the scope of the answer (see ``hold.target``), ``grant`` the id of
    what is remembered of it or of the ticket, ``key`` the key that was pressed. ``peer`` is the
    user's number and the process that sent it, as the system knows them.
    """

    outcome: str
    answer: Answer
    via: Via
    operator: str | None
    reason: str | None
    waited: float
    lasting: Lasting = "once"
    on: On | None = None
    grant: str | None = None
    key: str | None = None
    peer: tuple[int, int] | None = None


type Fate = Literal["answered", "denied", "client_left", "upstream_failed", "aborted"]


@dataclass(frozen=True, slots=True)
class Completion:
    """How an exchange ended. ``latency`` in seconds from head to last byte."""

    exchange: str
    status: int | None
    request_bytes: int
    response_bytes: int
    latency: float
    fate: Fate
    detail: str | None = field(default=None)
