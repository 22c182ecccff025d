"""A look at an MCP server before anybody uses it: ask what it offers, judge it, report."""
