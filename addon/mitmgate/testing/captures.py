"""A capture as a list of tests: its exchanges, and what is decided otherwise in each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mitmgate.errors import ConfigError
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource, locked_file
from mitmgate.record.capture import golden_path
from mitmgate.record.lines import printable
from mitmgate.record.meta import meta_path
from mitmgate.replay.compare import Difference, NotCompared
from mitmgate.replay.files import without_capture
from mitmgate.replay.golden import Golden
from mitmgate.replay.report import text_report
from mitmgate.serve.replaying import run_files


@dataclass(slots=True)
class Flow:
    """One exchange of a capture.

    ``told`` has a line for each difference, ``weaker`` says whether one of them lets more through.
    ``missing`` has a line for each outcome that could not be compared, of ``outcomes``. ``words``
    are the server, the tool, the method and the rules that decide.
    """

    number: int
    outcomes: int = 0
    told: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    weaker: bool = False
    words: set[str] = field(default_factory=set)

    @property
    def undecided(self) -> str:
        """Why the exchange neither passes nor fails, "" where all of it was compared."""
        if not self.missing:
            return ""
        told = f"{len(self.missing)} of {self.outcomes} outcomes not compared"
        return f"{told}: {'; '.join(dict.fromkeys(self.missing))}"


def read_policy(path: Path) -> Policy:
    """Return the policy in the file *path* with the locked layer; ConfigError with its problems."""
    return PolicySource(path, locked_file(None)).read()[0].policy


def flows(capture: Path, policy: Policy) -> list[Flow]:
    """Judge *capture* by *policy* and return its exchanges with outcomes, in their order.

    ConfigError: it cannot be used.
    """
    found: dict[int, Flow] = {}

    def hear(
        _file: Path, _line: int, golden: Golden, result: Difference | NotCompared | None
    ) -> None:
        flow = found.setdefault(golden.exchange, Flow(golden.exchange))
        words = (golden.server, golden.tool, golden.method, golden.rule)
        flow.words |= {printable(word) for word in words if word}
        flow.outcomes += 1
        match result:
            case Difference():
                flow.told.append(_told(result, golden))
                flow.weaker |= result.weaker
            case NotCompared():
                flow.missing.append(result.why)
            case None:
                pass

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
    beside = (golden_path(capture), meta_path(capture))
    raise ConfigError(*(without_capture(file) for file in beside if file.exists()))


def _told(difference: Difference, side: Golden) -> str:
    mark = "WEAKER" if difference.weaker else "different"
    words = (side.server or side.channel, side.tool or side.method)
    line = f":{difference.line}" if difference.line else ""  # 0: nothing came for it
    place = f"({difference.file.name}{line})"
    return " ".join([f"{mark}: {printable(difference.what)} ", *map(printable, words), place])
