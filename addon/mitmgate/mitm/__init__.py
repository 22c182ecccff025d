"""The only place that speaks to mitmproxy: hooks, layers, options, the lean master."""
