"""Rules of policy files as pydantic models: their conditions, effects and samples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mitmgate.policy.fields import (
    Clock,
    Duration,
    EditingEffect,
    Glob,
    Hint,
    Many,
    Mode,
    Name,
    Pointer,
    Reason,
    Redacted,
    RuleId,
    Section,
    Severity,
    Text,
    Transport,
    Verb,
    Where,
    Zone,
)
from mitmgate.policy.scan_models import Detector


class WindowEntry(Section):
    """A time of day, on some days of the week. It may go over midnight."""

    start: Clock = Field(alias="from", description="The first minute.", examples=["09:00"])
    end: Clock = Field(alias="to", description="The first minute after it.", examples=["17:30"])
    days: Many[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        description="The days on which it begins.",
        examples=[["mon", "tue", "wed", "thu", "fri"]],
    )
    zone: Zone = Field(
        default="UTC", description="The time zone (IANA).", examples=["Europe/Berlin"]
    )


class RepeatEntry(Section):
    """What makes a sample longer than anybody writes out: a text, many times, before a value."""

    at: Pointer = Field(
        description="Where the value stands, a text: in `params`, or in the result for a rule of "
        "`phase: result`. `*` is a name like others here.",
        examples=["/arguments/path"],
    )
    text: Annotated[str, Field(min_length=1, max_length=16)] = Field(
        description="What is put before it.", examples=["./"]
    )
    times: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="How many times.", examples=[40000]
    )


class SampleEntry(Section):
    """A call that a rule must match, or must not: `mitmgate check` tries each."""

    server: Name | None = Field(
        default=None,
        description="The server; without it one that the rule is for.",
        examples=["github"],
    )
    method: str = Field(
        default="tools/call", description="The MCP method.", examples=["resources/read"]
    )
    tool: str | None = Field(
        default=None, description="The tool, prompt or resource.", examples=["run_command"]
    )
    arguments: dict[str, Any] | None = Field(
        default=None, description="The arguments of a tool.", examples=[{"command": "rm -rf /"}]
    )
    params: dict[str, Any] | None = Field(
        default=None,
        description="All params, instead of arguments.",
        examples=[{"uri": "file:///x"}],
    )
    annotations: dict[Hint, bool] | None = Field(
        default=None,
        description="What the server says of the tool.",
        examples=[{"readOnlyHint": True}],
    )
    result: Any = Field(
        default=None,
        description="The result, for a rule of phase result.",
        examples=[{"isError": False}],
    )
    repeat: RepeatEntry | None = Field(
        default=None,
        description="A text that is put before a value many times, for what is about long texts.",
        examples=[{"at": "/arguments/path", "text": "./", "times": 40000}],
    )


class SamplesEntry(Section):
    """What shows that a rule means what it should."""

    match: tuple[SampleEntry, ...] = Field(
        default=(),
        description="Calls that it matches.",
        examples=[[{"tool": "run", "arguments": {"command": "rm -rf /"}}]],
    )
    other: tuple[SampleEntry, ...] = Field(
        default=(),
        description="Calls that it does not match.",
        examples=[[{"tool": "run", "arguments": {"command": "ls"}}]],
    )


class RuleHold(Section):
    """How a call waits for a person where this rule asks."""

    wait: Duration = Field(
        description="How long, from 1s to 1h, instead of `hold.wait`. A call of MCP waits so long "
        "only if its client accepts an event stream.",
        examples=["10m"],
    )


class RuleEntry(Section):
    """What every rule has; each condition that is given must hold."""

    id: RuleId = Field(
        description="Unique in all layers; records name the rule by it.", examples=["no-force-push"]
    )
    agent: Many[Glob] | None = Field(
        default=None,
        description="The name of the agent, or the address of one without credentials.",
        examples=["ci-*"],
    )
    group: Many[Name] | None = Field(
        default=None, description="One of the groups of the agent.", examples=["bots"]
    )
    time: WindowEntry | None = Field(
        default=None,
        description="When the rule counts.",
        examples=[{"from": "09:00", "to": "17:30", "zone": "Europe/Berlin"}],
    )
    then: Verb = Field(description="The decision.", examples=["deny"])
    reason: Reason | None = Field(
        default=None,
        description="What the agent reads; without it a general sentence that gives nothing away.",
        examples=["Force pushes need a person at the keyboard."],
    )
    note: Reason | None = Field(
        default=None,
        description="What the operator reads in records and in the console.",
        examples=["agreed with the platform team"],
    )
    severity: Severity | None = Field(
        default=None,
        description="How much a match matters, for records and the console.",
        examples=["high"],
    )
    hold: RuleHold | None = Field(
        default=None,
        description="With `then: ask`: how the call waits for a person.",
        examples=[{"wait": "10m"}],
    )
    mode: Mode = Field(
        default="enforce",
        description="`shadow`: what the rule would have decided is recorded, and the next rules "
        "decide.",
        examples=["shadow"],
    )


class McpRuleEntry(RuleEntry):
    """A rule for MCP messages; every condition that is given must hold."""

    server: Many[Name] | None = Field(
        default=None,
        description="One of these servers; without it every named one, never an unknown one.",
        examples=["github"],
    )
    tool: Many[Glob] | None = Field(
        default=None,
        description="The tool, or the prompt or resource if `method` asks for those.",
        examples=[["get_*", "list_*"]],
    )
    method: Many[Glob] | None = Field(
        default=None,
        description="The MCP method; the GET stream of a session is `stream`, its DELETE "
        "`session/end`. Without it and with `tool`: `tools/call`; without both: every method that "
        "is not housekeeping.",
        examples=["resources/read"],
    )
    annotations: Annotated[dict[Hint, bool], Field(min_length=1)] | None = Field(
        default=None,
        description="What the server says of the tool in its last list, with the defaults of the "
        "specification. Of a tool that was in no list nothing is known: an `allow` does not match, "
        "`ask` and `deny` do.",
        examples=[{"readOnlyHint": True}],
    )
    revision: Many[Text] | None = Field(
        default=None, description="The revision of the protocol.", examples=["2026-07-28"]
    )
    transport: Many[Transport] | None = Field(
        default=None, description="How the message travels.", examples=["websocket"]
    )
    where: Where | None = Field(
        default=None,
        description="Conditions on `params`, by JSON pointer; with `phase: result` on the result.",
        examples=[{"/arguments/force": {"equals": True}}],
    )
    phase: Literal["call", "result"] = Field(
        default="call",
        description="`result`: the rule is for the results of such calls, not for the calls.",
        examples=["result"],
    )
    hide: bool = Field(
        default=False,
        description="With `then: deny` and `tool`: the agent must not know of it. It is cut out of "
        "lists, and a call of it is answered as for a tool that does not exist.",
        examples=[True],
    )
    redact: Many[Redacted] | None = Field(
        default=None,
        description="What is replaced by `[redacted]` before the message goes on: JSON pointers, "
        "and names of detectors for what they find.",
        examples=[["/arguments/token", "secrets"]],
    )
    scan: dict[Detector, EditingEffect | Literal["hide"]] = Field(
        default_factory=dict,
        description="What findings of a detector do where this rule decides, instead of what "
        "`scan` says.",
        examples=[{"injection": "log"}],
    )
    samples: SamplesEntry = Field(
        default=SamplesEntry(),
        description="Calls that show what the rule means; `mitmgate check` tries them.",
        examples=[{"match": [{"tool": "push_files", "arguments": {"force": True}}]}],
    )


class McpRules(Section):
    """The MCP rules of a pack or of the locked layer."""

    rules: tuple[McpRuleEntry, ...] = Field(
        default=(),
        description="From top to bottom, the first that matches decides.",
        examples=[[{"id": "no-rm", "tool": "rm", "then": "deny"}]],
    )
