"""A capture as a list of tests: its exchanges, and what is decided otherwise in each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource, locked_file
from mitmgate.record.capture import golden_path
from mitmgate.record.lines import printable
from mitmgate.replay.compare import Difference
from mitmgate.replay.golden import Golden
from mitmgate.replay.report import text_report
from mitmgate.serve.replaying import run_files


@dataclass(slots=True)
class Flow:
    """One exchange of a capture.

    ``told`` has a line for each difference, ``weaker`` says whether one of them lets more through.
    ``words`` are the server, the tool, the method and the rules that decide.
    """

    number: int
    told: list[str] = field(default_factory=list)
    weaker: bool = False
    words: set[str] = field(default_factory=set)


def read_policy(path: Path) -> Policy:
    """Return the policy in the file *path* with the locked layer; ConfigError with its problems."""
    return PolicySource(path, locked_file(None)).read()[0].policy


def flows(capture: Path, policy: Policy) -> list[Flow]:
    """Judge *capture* by *policy* and return its exchanges with outcomes, in their order.

    ConfigError: it cannot be used.
    """
    found: dict[int, Flow] = {}

    def hear(_file: Path, _line: int, golden: Golden, difference: Difference | None) -> None:
        flow = found.setdefault(golden.exchange, Flow(golden.exchange))
        words = (golden.server, golden.tool, golden.method, golden.rule)
        flow.words |= {printable(word) for word in words if word}
        if difference is not None:
            flow.told.append(_told(difference, golden))
            flow.weaker |= difference.weaker

    run_files([_existing(capture)], policy, hear=hear)
    return [flow for _, flow in sorted(found.items())]


def update(capture: Path, policy: Policy, *, weaker: bool) -> list[str]:
    """Write the golden file of *capture* anew; return why not, where anything is weaker.

    With *weaker* that is written, too. ConfigError: it cannot be used.
    """
    compared = run_files([_existing(capture)], policy, accept="weaker" if weaker else "different")
    return [] if compared.updated else list(text_report(compared))


def _existing(capture: Path) -> Path:
    if capture.exists():
        return capture
    raise ConfigError(
        Problem("its capture is missing", file=str(golden_path(capture)),
                hint="restore the capture, or remove this file")
    )  # fmt: skip


def _told(difference: Difference, side: Golden) -> str:
    mark = "WEAKER" if difference.weaker else "different"
    words = (side.server or side.channel, side.tool or side.method)
    place = f"({difference.file.name}:{difference.line})"
    return " ".join([f"{mark}: {printable(difference.what)} ", *map(printable, words), place])
