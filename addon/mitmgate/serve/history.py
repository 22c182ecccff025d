"""The line of a preview that says what an answer for ever would have settled in the last days."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from mitmgate.policy.remembered import RememberedRule
from mitmgate.query.seeking import records_since
from mitmgate.query.settled import Settled, tally_settled
from mitmgate.record.lines import timestamp
from mitmgate.serve.whatif import Pace

DAYS: Final = 7
SECONDS: Final = 1.0
"""How long it looks: an operator waits for the preview."""


def history_of(rule: RememberedRule, audit: Path, *, pace: Pace | None = None) -> str | None:
    """Return the sentence on *rule* over the *audit* file, None where that cannot be read.

    It takes up to a second: call it in a thread.
    """
    now = time.time()
    since = timestamp(now - DAYS * 86_400)
    settled = Settled(rule.then, now - DAYS * 86_400, now)
    pace = pace or Pace(SECONDS, gentle=True)
    try:
        tally_settled(rule, pace.of(records_since(audit, since)), settled, since=since)
    except OSError:
        return None
    settled.partial = pace.over
    return settled.sentence
