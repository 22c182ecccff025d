"""The encodings that replay puts samples back in, so that the decoders are judged too."""

from __future__ import annotations

import base64
import codecs
import gzip
import zlib
from collections.abc import Callable, Mapping

_CODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
    "percent": lambda data: "".join(f"%{byte:02X}" for byte in data).encode(),
    "reversed": lambda data: data.decode()[::-1].encode(),
    "rot13": lambda data: codecs.encode(data.decode(), "rot13").encode(),
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "escapes": lambda data: "".join(f"\\u{ord(char):04x}" for char in data.decode()).encode(),
    "entities": lambda data: "".join(f"&#{ord(char)};" for char in data.decode()).encode(),
}
_MOST = 3


def can_encode(view: str) -> bool:
    """Tell whether a sample can be put back in *view*, the steps to decode it from the outside."""
    steps = view.split("/")
    return len(steps) <= _MOST and all(step in _CODERS for step in steps)


def encoded(value: str, view: str) -> str:
    """Return *value* so that *view* of it shows it; LookupError for a view that is not known."""
    if not view:
        return value
    data = value.encode()
    for step in reversed(view.split("/")):
        data = _CODERS[step](data)
    return data.decode()
