"""DNS over HTTPS in what is not MCP: a question in a request that names no host to the policy."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl

from mitmgate.wire.http import RequestHead

_MEDIA = ("application/dns-message", "application/dns-json", "application/oblivious-dns-message")
_HEADERS = ("content-type", "accept")
_PATH = "/dns-query"  # RFC 8484 section 4.1.1: the example that everybody took
_SHORTEST = 17  # RFC 1035 section 4.1: a header of 12 bytes, a name, its type and class
_LONGEST = 2_000
_MOST_FIELDS = 1_000


def asks_dns(head: RequestHead, tags: tuple[str, ...] = ()) -> bool:
    """Tell whether *head* begins DNS over HTTPS (RFC 8484), or its JSON kin.

    By its media types, by a question in the query parameter ``dns``, or because the host that
    has *tags* (``doh``) is there for nothing else.
    """
    if "doh" in tags:
        return True
    for name in _HEADERS:
        values = ",".join(head.get_all(name)).lower()
        if any(media in values for media in _MEDIA):
            return True
    if "dns" not in head.query.lower() and "%" not in head.query:
        return False
    try:
        fields = parse_qsl(head.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:  # of that many, any may be one
        return True
    questions = [value for name, value in fields if name.lower() == "dns"]
    return bool(questions) and (
        head.path.rstrip("/").lower().endswith(_PATH) or any(map(_is_question, questions))
    )


def _is_question(value: str) -> bool:
    """Tell whether *value* is base64url of a DNS query (RFC 1035 section 4.1.1)."""
    if len(value) > _LONGEST:
        return False
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return False
    return len(raw) >= _SHORTEST and not raw[2] & 0x80 and 0 < int.from_bytes(raw[4:6]) < 5
