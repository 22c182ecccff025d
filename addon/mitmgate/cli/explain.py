"""``mitmgate explain``: what the policy says about one call, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitmgate.errors import ConfigError, Problem, WireError

if TYPE_CHECKING:
    from mitmgate.policy.decide import Call, Step
    from mitmgate.policy.load import Policy
    from mitmgate.policy.verdict import Decision

EXIT_CODES = {"allow": 0, "ask": 3, "deny": 4}
_NOTE = "only the rules of the policy; the scanners also look at what a live call carries"

_HIDDEN = "hidden  the tool is left out of tools/list, and a call is answered as for an unknown one"


def explain(
    *,
    server: Annotated[str, typer.Option(help="The server, as the policy names it.")],
    tool: Annotated[str, typer.Option(help="The tool that is called.")],
    args: Annotated[str, typer.Option(metavar="JSON", help="The arguments, an object.")] = "{}",
    agent: Annotated[str, typer.Option(help="The agent that calls.")] = "explain",
    policy: Annotated[Path | None, typer.Option(help="The policy; else the one in force.")] = None,
    state: Annotated[
        Path | None, typer.Option("--state-dir", help="Where mitmgate keeps its files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how a tool call would be decided, by which rule, and why.

    Exit code 0: allow, 3: ask, 4: deny. Only the rules are tried, nothing is scanned.

    \b
    Example: mitmgate explain --server github --tool push_files --args '{"force": true}'
    """
    from mitmgate.cli.state import policy_in_force, state_dir
    from mitmgate.policy.decide import Call

    params = {"name": tool, "arguments": _arguments(args)}
    rules, source = policy_in_force(policy, state_dir(state))
    known = server if server in rules.server_urls else None
    decision, steps = judge(rules, Call(agent, known, "tools/call", tool, params))
    if as_json:
        typer.echo(json.dumps(_as_dict(decision, steps, rules, source), ensure_ascii=False))
    else:
        if known is None:
            typer.echo(f"no server of this policy is named {server!r}: an unknown endpoint\n")
        typer.echo(_as_text(decision, steps, f"{source} ({rules.hash})"))
    raise typer.Exit(EXIT_CODES[decision.verdict.word])


def judge(policy: Policy, call: Call) -> tuple[Decision, list[Step]]:
    """Return the decision about *call* and the rules tried for it.

    For an endpoint without a name both questions are asked, and the stricter answer counts.
    """
    from mitmgate.policy.decide import Step, decide, decide_unknown, trace

    decision = decide(policy, call)
    if call.server is not None:
        return decision, trace(policy, call)
    unknown = decide_unknown(policy, "")
    first = Step(unknown.rule, unknown.verdict >= decision.verdict, unknown.reason)
    last = Step(decision.rule, not first.matched, decision.reason)
    return (unknown if first.matched else decision), [first, last]


def _arguments(text: str) -> dict[str, Any]:
    from mitmgate.wire.strictjson import parse_json

    hint = """give a JSON object, as in --args '{"force": true}'"""
    try:
        value = parse_json(text)
    except WireError as error:
        raise ConfigError(Problem(str(error), key="--args", hint=hint)) from None
    if not isinstance(value, dict):
        raise ConfigError(Problem("the arguments of a tool are an object", key="--args", hint=hint))
    return value


def _as_dict(decision: Decision, steps: list[Step], policy: Policy, source: str) -> dict[str, Any]:
    return {
        "verdict": decision.verdict.word,
        "rule": decision.rule,
        "code": decision.code,
        "reason": decision.reason,
        "agent_reason": decision.agent_reason,
        "hidden": decision.hidden,
        "policy": policy.hash,
        "source": source,
        "tried": [{"rule": one.rule, "matched": one.matched, "why": one.why} for one in steps],
        "note": _NOTE,
    }


def _as_text(decision: Decision, steps: list[Step], source: str) -> str:
    lines = [
        decision.verdict.word,
        f"rule    {decision.rule}",
        f"why     {decision.reason}",
        f"agent   {decision.agent_reason}",
        *([_HIDDEN] if decision.hidden else []),
        f"policy  {source}",
        "tried",
        *(f"  {'->' if one.matched else '  '} {one.rule}: {one.why}" for one in steps),
        f"note    {_NOTE}",
    ]
    return "\n".join(lines)
