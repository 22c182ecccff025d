"""When a decision key counts: only on a row that the operator had time to see."""

from __future__ import annotations

from collections.abc import Callable, Hashable

ARM_AFTER = 0.3
# A key held down repeats after 250 to 660 ms on the usual systems, then every 30 ms. The wait
# after a decision is longer than the first and every refused press starts a new one: a held
# key decides once.
ARM_AFTER_DECISION = 1.0
# A terminal without bracketed paste delivers pasted text as keys in one burst. A decision
# waits this long for the rest of a burst and is dropped when more keys come.
BURST = 0.05


class Arming:
    """A small clock: whatever changes under the cursor makes the keys wait again."""

    __slots__ = ("_ready_at", "_steady", "_subject")

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._subject: Hashable = None
        self._ready_at = steady() + ARM_AFTER

    @property
    def armed(self) -> bool:
        """Whether a decision key would count now."""
        return self._steady() >= self._ready_at

    def see(self, subject: Hashable) -> None:
        """Note what a decision would be about now; anything else than before starts the wait."""
        if subject != self._subject:
            self._subject = subject
            self.disturb()

    def disturb(self) -> None:
        """Start the wait again: other keys were typed, something was pasted, the window changed."""
        self._wait(ARM_AFTER)

    def take(self, subject: Hashable) -> bool:
        """Use the armed keys up, or return False and start the wait again."""
        # Looked at here again: the row may have changed after the last look.
        self.see(subject)
        armed = self.armed
        self._wait(ARM_AFTER_DECISION if armed else ARM_AFTER)
        return armed

    def _wait(self, seconds: float) -> None:
        self._ready_at = max(self._ready_at, self._steady() + seconds)
