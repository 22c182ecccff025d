"""mitmgate: a gate on the network path of AI agents, for MCP and for everything else."""

__version__ = "0.1.0"
