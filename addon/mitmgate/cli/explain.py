"""``mitmgate explain``: what the policy says about one call, and why."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mitmgate.errors import ConfigError, Problem, WireError

if TYPE_CHECKING:
    from mitmgate.policy.call import Call, EgressCall
    from mitmgate.policy.load import Policy
    from mitmgate.policy.trace import Step
    from mitmgate.policy.verdict import Decision

EXIT_CODES = {"allow": 0, "ask": 3, "deny": 4}
_NOTE = "only the rules of the policy; the scanners also look at what a live call carries"

_HIDDEN = "hidden  the tool is left out of tools/list, and a call is answered as for an unknown one"


def explain(
    *,
    server: Annotated[str | None, typer.Option(help="The server, as the policy names it.")] = None,
    tool: Annotated[
        str | None, typer.Option(help="The tool that is called; a URI or prompt with --method.")
    ] = None,
    args: Annotated[str, typer.Option(metavar="JSON", help="The arguments, an object.")] = "{}",
    method: Annotated[str, typer.Option(help="The MCP method.")] = "tools/call",
    params: Annotated[
        str | None, typer.Option(metavar="JSON", help="All params, instead of --tool and --args.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="A URL that is not MCP: explain the egress rules.")
    ] = None,
    protocol: Annotated[
        Literal["http", "websocket", "a2a"], typer.Option(help="What is spoken at --url.")
    ] = "http",
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The body sent to --url, as in 2MB.")
    ] = None,
    agent: Annotated[str, typer.Option(help="The agent that calls.")] = "explain",
    read_only: Annotated[
        bool | None,
        typer.Option("--read-only/--not-read-only", help="What the server says of the tool."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When (ISO 8601), for rules with a time.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="The policy; else the one in force.")] = None,
    locked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The locked layer; else /etc/mitmgate/locked.yaml."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state-dir", help="Where mitmgate keeps its files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how a call would be decided, by which rule, and why each other rule was not the one.

    Exit code 0: allow, 3: ask, 4: deny. Only the rules are tried, nothing is scanned.

    \b
    Example: mitmgate explain --server github --tool push_files --args '{"force": true}'
    """
    from mitmgate.cli.state import policy_in_force, state_dir

    rules, source = policy_in_force(policy, state_dir(state), locked)
    now = _time(at)
    tags: tuple[str, ...] = ()
    if url is not None:
        request = replace(_requested(rules, url, agent, method, now),
                          protocol=protocol, size=_size(size) if size else 0)  # fmt: skip
        decision, steps = _egress(rules, request)
        tags = _tags(request)
        known: str | None = ""
    else:
        if server is None or (tool is None and params is None):
            needed = "a call needs --server and --tool; --url is for traffic that is not MCP"
            raise typer.BadParameter(needed)
        known = server if server in rules.server_urls else None
        call = _call(rules, known, method, tool, _params(tool, args, params), agent, now)
        if read_only is not None:
            call = replace(call, annotations={"readOnlyHint": read_only})
        decision, steps = judge(rules, call)
    if as_json:
        told = _as_dict(decision, steps, rules, source) | {"tags": list(tags)}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        if known is None:
            typer.echo(f"no server of this policy is named {server!r}: an unknown endpoint\n")
        if tags:
            typer.echo(f"the host is tagged {', '.join(tags)}\n")
        typer.echo(_as_text(decision, steps, f"{source} ({rules.hash})"))
    raise typer.Exit(EXIT_CODES[decision.verdict.word])


def _call(
    policy: Policy,
    server: str | None,
    method: str,
    tool: str | None,
    params: dict[str, Any],
    agent: str,
    now: float,
) -> Call:
    from mitmgate.policy.call import Call
    from mitmgate.wire.methods import is_housekeeping
    from mitmgate.wire.recognise import target_name

    return Call(
        agent,
        server,
        method,
        tool or target_name(method, params),
        params,
        housekeeping=is_housekeeping(method),
        groups=policy.agents.groups_of(agent),
        now=now,
    )


def _params(tool: str | None, args: str, params: str | None) -> dict[str, Any]:
    if params is not None:
        return _object(params, "--params")
    return {"name": tool, "arguments": _object(args, "--args")}


def _egress(policy: Policy, call: EgressCall) -> tuple[Decision, list[Step]]:
    from mitmgate.policy.egress import connect_denied, decide_egress
    from mitmgate.policy.trace import Step, trace_egress

    steps = trace_egress(policy, call)
    refused = connect_denied(policy, call.host, call.port)
    if refused is None:
        return decide_egress(policy, call), steps
    # The tunnel is refused before any rule sees the request.
    if not any(step.matched and step.rule == refused.rule for step in steps):
        steps = [Step(refused.rule, True, refused.reason)]
    return refused, steps


def _requested(policy: Policy, url: str, agent: str, method: str, now: float) -> EgressCall:
    from mitmgate.policy.call import request_call

    verb = "GET" if method == "tools/call" else method.upper()
    try:
        call = request_call(url, verb, agent)
    except WireError as error:
        hint = "as in --url https://example.com/path"
        raise ConfigError(Problem(f"no URL: {error}", key="--url", hint=hint)) from None
    return replace(call, groups=policy.agents.groups_of(agent), now=now)


def _tags(call: EgressCall) -> tuple[str, ...]:
    from mitmgate.policy.hosts import tags_of

    return tags_of(call.host)


def _size(text: str) -> int:
    from mitmgate.policy.syntax import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        hint = "as in --size 2MB"
        raise ConfigError(Problem(str(error), key="--size", hint=hint)) from None


def _time(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        hint = "as in --at 2026-03-01T09:30:00+01:00"
        raise ConfigError(Problem(f"no time: {text}", key="--at", hint=hint)) from None


def judge(policy: Policy, call: Call) -> tuple[Decision, list[Step]]:
    """Return the decision about *call* and the rules tried for it.

    For an endpoint without a name both questions are asked, and the stricter answer counts.
    """
    from mitmgate.policy.decide import decide, decide_unknown
    from mitmgate.policy.trace import Step, trace

    decision = decide(policy, call)
    if call.server is not None:
        return decision, trace(policy, call)
    unknown = decide_unknown(policy, "")
    first = Step(unknown.rule, unknown.verdict >= decision.verdict, unknown.reason)
    last = Step(decision.rule, not first.matched, decision.reason)
    return (unknown if first.matched else decision), [first, last]


def _object(text: str, option: str) -> dict[str, Any]:
    from mitmgate.wire.strictjson import parse_json

    hint = f"""give a JSON object, as in {option} '{{"force": true}}'"""
    try:
        value = parse_json(text)
    except WireError as error:
        raise ConfigError(Problem(str(error), key=option, hint=hint)) from None
    if not isinstance(value, dict):
        raise ConfigError(Problem("the arguments of a tool are an object", key=option, hint=hint))
    return value


def _as_dict(decision: Decision, steps: list[Step], policy: Policy, source: str) -> dict[str, Any]:
    return {
        "verdict": decision.verdict.word,
        "rule": decision.rule,
        "code": decision.code,
        "reason": decision.reason,
        "agent_reason": decision.agent_reason,
        "hidden": decision.hidden,
        "severity": decision.severity,
        "redact": list(decision.redact),
        "shadow": _shadow(decision),
        "policy": policy.hash,
        "source": source,
        "tried": [
            {"rule": one.rule, "matched": one.matched, "layer": one.layer, "why": one.why}
            for one in steps
        ],
        "note": _NOTE,
    }


def _as_text(decision: Decision, steps: list[Step], source: str) -> str:
    lines = [
        decision.verdict.word,
        f"rule    {decision.rule}",
        f"why     {decision.reason}",
        f"agent   {decision.agent_reason}",
        *([_HIDDEN] if decision.hidden else []),
        *([f"redact  {', '.join(decision.redact)}"] if decision.redact else []),
        *([f"shadow  {_shadow(decision)}"] if decision.shadow else []),
        f"policy  {source}",
        "tried",
        *map(_step, steps),
        f"note    {_NOTE}",
    ]
    return "\n".join(lines)


def _step(step: Step) -> str:
    where = f" ({step.layer})" if step.layer else ""
    return f"  {'->' if step.matched else '  '} {step.rule}{where}: {step.why}"


def _shadow(decision: Decision) -> str | None:
    told = decision.shadow
    return None if told is None else f"rule {told.rule} would {told.verdict.word}"
