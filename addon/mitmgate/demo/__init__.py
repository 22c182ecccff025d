"""A guided minute with a real MCP server and a real MCP client."""
