"""Owns the event loop: records, holds, the control API, start and end of a proxy."""
