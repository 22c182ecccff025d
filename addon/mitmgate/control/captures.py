"""Captures made of rows, over the control socket."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mitmgate.control.decisions import Model


class CaptureRequest(Model):
    """Asks for a capture of the exchange of the row ``id`` (``a1b2c3-1f.0``)."""

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[0-9A-Za-z_.-]+$")]


class CaptureMade(Model):
    """The capture that was made: its ``path``, and how many exchanges before it came with it."""

    path: str
    carried: Annotated[int, Field(ge=0)]
