"""The kill switch over the control socket: while it is on, everything is denied."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mitmgate.control.decisions import Model

type By = Literal["operator", "signal", "file"]
"""What turned the switch on: an operator over this API, SIGUSR1, the file ``halt``."""


class Switch(Model):
    """The kill switch. ``since`` is in seconds since the epoch; None where it is off.

    ``by`` is the operator's name, or ``signal`` or ``file``.
    """

    on: bool
    by: str | None = None
    since: float | None = None
    reason: str | None = None


class SwitchRequest(Model):
    """Turn the kill switch on or off. Needs the operator key; only this turns it off.

    ``reason`` is shown to operators and recorded; agents do not read it.
    """

    on: bool
    reason: Annotated[str, Field(max_length=500)] | None = None
    operator: Annotated[str, Field(max_length=100)] | None = None
    via: Literal["console", "shell", "api"] = "api"
