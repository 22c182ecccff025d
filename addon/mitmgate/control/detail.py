"""All that is known of one row, over the control socket; for operators only."""

from __future__ import annotations

from typing import Any

from mitmgate.control.decisions import Model
from mitmgate.control.models import Row


class Detail(Model):
    """A row with what was sent and answered, known secrets replaced.

    ``request`` and ``answer`` are decoded messages or texts (None: not kept any more, or there was
    none), ``events`` those of the stream, the oldest first. ``trace`` are the rules that were
    asked, one line each. ``curl`` is the request as a command without credentials; None where it
    cannot be said as one.
    """

    row: Row
    request: Any | None = None
    answer: Any | None = None
    events: tuple[Any, ...] = ()
    trace: tuple[str, ...] = ()
    curl: str | None = None
