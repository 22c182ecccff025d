"""Results of the official conformance suite, as it leaves them in its folder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REVISIONS = ("2025-11-25", "2026-07-28")

# It notes whatever comes within some seconds, and scores none of it: two runs are never the same.
UNSTEADY = "server-sse-polling"

_STAMP = len("-2026-01-31T12-00-00-000Z")  # what the suite adds to the name of a scenario's folder


@dataclass(frozen=True, order=True)
class Check:
    """One line of the suite's verdict; several may be the same."""

    scenario: str
    id: str
    name: str
    status: str


@dataclass(frozen=True)
class Outcome:
    """What one run of the suite found; ``code`` is 0 where every scored scenario passed."""

    code: int
    checks: Counter[Check]
    log: str

    @property
    def scenarios(self) -> set[str]:
        """The scenarios that left results."""
        return {check.scenario for check in self.checks}

    @property
    def score(self) -> tuple[int, int]:
        """How many checks passed and how many failed, those that two runs share."""
        return self.count("SUCCESS"), self.count("FAILURE")

    def count(self, status: str) -> int:
        """How many checks have *status*."""
        return sum(
            number for check, number in steady(self.checks).items() if check.status == status
        )


def read_checks(folder: Path, *, kind: str = "") -> Counter[Check]:
    """Return the checks of every scenario below *folder*; *kind* begins each folder's name."""
    found: Counter[Check] = Counter()
    for file in folder.rglob("checks.json"):
        scenario = str(file.parent.relative_to(folder))[:-_STAMP].removeprefix(kind)
        for check in json.loads(file.read_text()):
            found[Check(scenario, check["id"], check["name"], check["status"])] += 1
    return found


def difference(direct: Outcome, other: Outcome) -> list[str]:
    """Return a line for each check that *direct* and *other* do not share."""
    before, after = steady(direct.checks), steady(other.checks)
    return [
        f"{sign} {check.scenario}: {check.id} ({check.name}) {check.status} x{number}"
        for sign, only in (("-", before - after), ("+", after - before))
        for check, number in sorted(only.items())
    ]


def steady(checks: Counter[Check]) -> Counter[Check]:
    """Leave out what differs from run to run; a failure never does."""
    return Counter({
        check: number for check, number in checks.items()
        if check.scenario != UNSTEADY or check.status == "FAILURE"
    })  # fmt: skip


def table_rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading* in a Markdown *page*."""
    below = page.partition(f"{heading}\n")[2].splitlines()
    rows: list[list[str]] = []
    for line in below:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [rows[0], *rows[2:]] if rows else []
