"""Bytes to events and back: JSON-RPC, SSE, bodies, recognition, denials. No I/O lives here."""
