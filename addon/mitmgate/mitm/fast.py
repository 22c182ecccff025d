"""The fast path: each thing that makes a proxy cheaper than stock mitmproxy, by its name.

``MITMGATE_FAST_PATH_OFF=hooks,checks`` in the environment leaves parts out, to compare. A part that
takes the place of something inside mitmproxy names it in ``replaces``, with a digest of its source
as it was when the part was written (mitmproxy 12.2.3). Where the source is another one the part is
left out with a warning: the proxy is slower then, and no less safe. Then read what changed, fit the
part to it, and write the new digest here (``mitmgate.mitm.fast.digest``).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from mitmgate.errors import ConfigError, Problem

VARIABLE = "MITMGATE_FAST_PATH_OFF"
LEFT_OUT = ""
"""What is left out where the variable is not set."""

_SERVER = "mitmproxy.proxy.server:ConnectionHandler"
_PROXY = "mitmproxy.proxy.mode_servers:ProxyConnectionHandler"
_HANDLER = {  # what the handler overrides or calls
    f"{_SERVER}.__init__": "ffb8e6c9e6c6",
    f"{_SERVER}.handle_client": "01f1b7cc991c",
    f"{_SERVER}.open_connection": "5e0b3cbaf7a4",
    f"{_SERVER}.handle_connection": "95c3f93e9824",
    f"{_SERVER}.server_event": "a2b42657ebe8",
    f"{_SERVER}.hook_task": "9ac797016052",
    f"{_SERVER}.wakeup": "6e42e075ee5f",
    f"{_SERVER}.drain_writers": "6b5743460456",
    f"{_SERVER}.close_connection": "c0d10cc05dd6",
    f"{_SERVER}.log": "706760d6eecf",
    f"{_PROXY}.handle_hook": "9f8b52fd7982",
    "mitmproxy.proxy.mode_servers:ServerInstance.handle_stream": "21eea06f208c",
}


@dataclass(frozen=True, slots=True)
class Part:
    """What is left out or kept, and why. ``replaces`` has digests by ``module:qualified.name``."""

    name: str
    reason: str
    replaces: Mapping[str, str] = field(default_factory=dict)


PARTS = (
    Part(
        "loop",
        "uvloop in the place of asyncio's own event loop: 2 to 4 % of a call",
    ),
    Part(
        "records",
        "no record for a log viewer that nobody opens: a tenth of every call in stock",
        {"mitmproxy.log:LegacyLogEvents.uninstall": "0bada9088b90"},
    ),
    Part(
        "table",
        "the hooks of an event are looked up once, at the start, and not in every addon each time",
    ),
    Part(
        "hooks",
        "a hook that does not wait takes no task, and an event no lock: 50 us of a call",
        _HANDLER,
    ),
    Part(
        "checks",
        "the fields of a message that mitmproxy itself made are not checked for their types: "
        "140 us of a call",
        {"mitmproxy.http:MessageData.__post_init__": "f65088e210cd"},
    ),
    Part(
        "leaves",
        "a host's certificate and key are read once by OpenSSL, not for each client",
        {
            "mitmproxy.addons.tlsconfig:TlsConfig.tls_start_client": "05334c27c22a",
            "mitmproxy.net.tls:create_client_proxy_context": "8a3bd5b54ef3",
        },
    ),
    Part(
        "sessions",
        "a server that was there before is not asked for its certificate again",
        {"mitmproxy.addons.tlsconfig:TlsConfig.tls_start_server": "2e2dc9c25670"},
    ),
    Part(
        "pool",
        "a connection to a server waits a second for the next client of the same agent",
        {
            **{place: known for place, known in _HANDLER.items() if "_connection" in place},
            f"{_SERVER}.handle_client": _HANDLER[f"{_SERVER}.handle_client"],
            "mitmproxy.addons.tlsconfig:TlsConfig.tls_start_server": "2e2dc9c25670",
            "mitmproxy.proxy.layers.tls:TLSLayer.start_tls": "3878cd7c942a",
            "mitmproxy.proxy.layers.tls:TLSLayer.receive_handshake_data": "721fe6313c09",
            "mitmproxy.proxy.layers.tls:ServerTLSLayer.start_handshake": "0dcfcb2a69b9",
        },
    ),
    Part(
        "freeze",
        "what is there after the start is not looked at by the garbage collector again",
    ),
)
"""All parts. The few addons have no switch: the others open ways around the gate, so what to
compare with is stock mitmproxy. Nor has the guard: without it a hook that raises lets go on what
it should have stopped.
"""


def turned_off(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the names of the parts that are left out; ConfigError for one that does not exist."""
    names = frozenset(filter(None, map(str.strip, environment.get(VARIABLE, LEFT_OUT).split(","))))
    known = [part.name for part in PARTS]
    unknown = sorted(names.difference(known))
    if unknown:
        hint = f"use any of {', '.join(known)}"
        raise ConfigError(Problem(f"not a part of the fast path: {unknown[0]}", key=VARIABLE,
                                  hint=hint))  # fmt: skip
    return names


def is_on(name: str) -> bool:
    """Tell whether the part of that *name* is wanted, and what it replaces is as it was."""
    if name in turned_off():
        return False
    return not _changed(name)


def notices() -> list[str]:
    """Return, for each part that mitmproxy no longer fits, what to tell the operator."""
    return [
        f"mitmproxy's {_changed(part.name)} is not the one that is known: "
        f"slower, without {part.name!r} of the fast path"
        for part in PARTS
        if part.name not in turned_off() and _changed(part.name)
    ]


@cache  # once: afterwards our own part stands in its place
def _changed(name: str) -> str:
    part = next(one for one in PARTS if one.name == name)
    changed = (place for place, known in part.replaces.items() if digest(place) != known)
    return next(changed, "").partition(":")[2]


def digest(place: str) -> str:
    """Return a digest of the source of *place*, ``module:qualified.name``; empty without one."""
    module, _, path = place.partition(":")
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        source = inspect.getsource(found)  # type: ignore[arg-type]
    except (AttributeError, ImportError, OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:12]
