"""Decoded text to findings: rule packs, the search, redaction. No I/O but reading packs."""
