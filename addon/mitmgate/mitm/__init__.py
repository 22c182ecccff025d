"""The only place that speaks to mitmproxy: hooks, layers, options, the lean master."""

from mitmgate.mitm.slim import SLIM

__all__ = ["SLIM"]
