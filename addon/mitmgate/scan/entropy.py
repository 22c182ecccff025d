"""Data written as names: labels of a host and segments of a path that look drawn at random.

A weak sign: builds, buckets and signed links look so too. It says where to look, and decides
nothing.
"""

from __future__ import annotations

from urllib.parse import unquote

from mitmgate.scan.validators.randomness import looks_random

_SHORTEST_LABEL = 12
_LEAST_IN_LABELS = 41
"""A name of a bucket or a function is up to 40 characters; data needs more, or many names."""
_LEAST_IN_SEGMENT = 65
"""Digests are up to 64 characters in hex, identifiers shorter."""
_LONGEST = 4096
_HEX = frozenset("0123456789abcdefABCDEF")
_DIGESTS = frozenset({96, 128})
_EXTENSION = 8


def is_encoded_name(host: str, path: str) -> bool:
    """Tell whether *host*, normalised, or *path* carries more random text than a name needs."""
    return _in_labels(host) or any(_in_segment(part) for part in path.split("/"))


def _in_labels(host: str) -> bool:
    labels = [label for label in host.split(".")[:-2] if len(label) >= _SHORTEST_LABEL]
    if sum(map(len, labels)) < _LEAST_IN_LABELS:
        return False
    return sum(len(label) for label in labels if looks_random(label)) >= _LEAST_IN_LABELS


def _in_segment(segment: str) -> bool:
    if not _LEAST_IN_SEGMENT <= len(segment) <= _LONGEST:
        return len(segment) > _LONGEST
    plain = unquote(segment)
    name, dot, extension = plain.rpartition(".")
    if dot and len(extension) <= _EXTENSION:
        plain = name
    if len(plain) < _LEAST_IN_SEGMENT:
        return False
    if len(plain) in _DIGESTS and _HEX.issuperset(plain):
        return False
    return looks_random(plain)
