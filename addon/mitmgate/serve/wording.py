"""What an agent reads of a call that was stopped, or that waited and was not approved."""

from __future__ import annotations

from mitmgate.judge.halt import DENIED
from mitmgate.judge.outcome import Resolution
from mitmgate.judge.prepare import PreparedAnswer, PreparedMessage
from mitmgate.judge.replies import withheld
from mitmgate.mitm.core import Judged


def withheld_of(judged: Judged) -> str:
    """Return the sentence that goes before the reason where a tool has run already."""
    given = judged.prepared
    from_server = isinstance(given, PreparedAnswer) or (
        isinstance(given, PreparedMessage) and not given.input.from_client
    )
    return withheld(judged.outcome, from_server=from_server)


_WHY = {
    "timeout": "Nobody approved this in time.",
    "unattended": "This needs a person's approval and no operator is watching.",
    "queue_full": "Too many calls wait for approval. Try again later.",
    "client_left": "The client left.",
    "shutdown": "The proxy is shutting down.",
    "kill_switch": DENIED.agent_reason,
}


def detail_of_hold(judged: Judged, resolution: Resolution, *, kept: bool) -> str:
    """Return the sentence for a call that waited and was not approved.

    *kept*: it can still be approved, for a retry.
    """
    ran = withheld_of(judged)
    if kept:
        key = judged.outcome.id
        return f"Approval pending ({key}): retry with the same arguments once it is approved."
    if resolution.via in _WHY:
        return f"{ran}{_WHY[resolution.via]}"
    if resolution.via == "policy":  # another one by now, in its own words
        return f"{ran}{resolution.reason}"
    said = f": {resolution.reason}" if resolution.reason else "."
    return f"{ran}The operator denied this{said}"
