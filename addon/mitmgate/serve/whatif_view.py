"""What a policy would have changed, as the control API and the command show it."""

from __future__ import annotations

from typing import Literal, cast

from mitmgate.control.whatif import WhatIfGroup, WhatIfView
from mitmgate.query.changes import Tally


def view_of(tally: Tally) -> WhatIfView:
    """Return *tally* as it is shown."""
    counts = tally.counts
    return WhatIfView(
        exit=cast("Literal[0, 1, 3]", tally.exit_code),
        decisions=tally.decisions,
        with_bodies=tally.with_bodies,
        days=round(tally.days, 3),
        allowed=counts["allowed"],
        unredacted=counts["unredacted"],
        asked=counts["asked"],
        approvals_a_day=round(tally.approvals_a_day, 3),
        denied=counts["denied"],
        redacted=counts["redacted"],
        undecidable=counts["undecidable"],
        damaged=tally.damaged,
        partial=tally.partial,
        groups=tuple(
            WhatIfGroup(
                kind=group.change.kind, rule=group.change.rule, before=group.change.before,
                after=group.change.after, why=group.change.why, count=group.count,
                examples=tuple(group.examples),
            )
            for group in tally.groups()
        ),
    )  # fmt: skip
