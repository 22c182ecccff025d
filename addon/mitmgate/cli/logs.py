"""What a headless proxy writes on standard error: one line for each decision, and trouble."""

from __future__ import annotations

import logging
import sys

import structlog


class DecisionLog:
    """Writes decision lines to standard error; muted while the console has the terminal."""

    def __init__(self, *, muted: bool = False) -> None:
        self._muted = muted
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), _render],
        )

    def line(self, text: str) -> None:
        """Write one decision."""
        if not self._muted:
            self._logger.info(text)

    def notice(self, text: str) -> None:
        """Write something that the operator should know."""
        self.line(f"note     {text}")

    def mute(self) -> None:
        """Write nothing from now on: the console has the terminal."""
        self._muted = True

    def unmute(self) -> None:
        """Write from now on: the console has left the terminal."""
        self._muted = False


def _render(_: object, __: str, event: structlog.typing.EventDict) -> str:
    return f"{event['timestamp']} {event['event']}"


class _Brief(logging.Formatter):
    """First line only and no traceback: what a library logs may quote traffic."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one short line."""
        if record.name.startswith("mitmgate"):
            return f"trouble  {record.getMessage()}"
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        return f"trouble  {record.name}: {kind or record.levelname.lower()} at {record.funcName}"


def quiet_mitmproxy() -> None:
    """Log errors only, in one line each, without what they quote."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Brief())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR)
