"""What tests of rules are made of: calls, requests, and what a policy must decide about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmgate.testing.decisions import assert_decision, call, egress

__all__ = ["assert_decision", "call", "egress"]


def __getattr__(name: str) -> object:
    # The pytest plugin stands in this package, and loads in suites that have nothing to do with us.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mitmgate.testing import decisions  # noqa: PLC0415

    return getattr(decisions, name)
