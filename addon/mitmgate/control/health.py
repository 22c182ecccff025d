"""How the proxy is, over the control socket."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mitmgate.control.decisions import Model
from mitmgate.control.switch import Switch


class StageTimes(Model):
    """How long one stage took lately: the median and the 95th percentile, in seconds."""

    p50: float
    p95: float


class Health(Model):
    """How the proxy is. Times and rates are over what came last, at most 1,000 of each.

    ``stages`` by name: ``prepare`` (read and scan), ``conclude`` (rules and memory), ``record``
    (the audit file), ``hold`` (a person's answer), ``whole`` (a request up to its first
    decision). ``pending`` and ``detached`` calls, ``readers`` of the event stream, messages that
    those ``dropped``. ``audit``, ``policy`` and ``capture`` are None where all is well, else what
    is wrong. ``halt`` is the kill switch.
    """

    calls_per_second: Annotated[float, Field(ge=0)]
    stages: dict[str, StageTimes]
    pending: Annotated[int, Field(ge=0)]
    detached: Annotated[int, Field(ge=0)]
    readers: Annotated[int, Field(ge=0)]
    dropped: Annotated[int, Field(ge=0)]
    audit: str | None
    policy: str | None
    capture: str | None = None
    policy_hash: str
    halt: Switch
