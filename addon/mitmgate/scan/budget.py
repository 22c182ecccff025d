"""How much work one scan may be. Counted in bytes and steps, never in time.

A verdict must not depend on the machine: the same message is over its budget everywhere or
nowhere.
"""

from __future__ import annotations

_BYTES_FREE = 4 << 20
_TIMES = 48


class OverBudget(Exception):
    """More work than the message is worth. The scan ends, and says so in a finding."""


class Budget:
    """What is left of the work that a message of some size may cause.

    One unit is one byte given to one pattern, or decoded once for a view.
    """

    def __init__(self, size: int) -> None:
        """Start with what a message of *size* bytes may cost."""
        self.left = _BYTES_FREE + _TIMES * size

    def spend(self, amount: int) -> None:
        """Take *amount*; OverBudget where that much is not left."""
        self.left -= amount
        if self.left < 0:
            raise OverBudget
