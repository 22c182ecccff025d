"""The mitmproxy options that a gate stands on, and the refusal of every other value.

Measured on mitmproxy 12.2.3 (DESIGN section 4): each of these opens a way around the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mitmproxy.options import Options

from mitmgate.errors import Problem

REQUIRED: Mapping[str, tuple[Any, str]] = {
    "connection_strategy": ("lazy", "eager resolves names and dials before any decision"),
    "http2": (False, "an HTTP/2 POST without content-length smuggles a second request"),
    "http3": (False, "QUIC is not inspected"),
    "rawtcp": (False, "raw TCP is forwarded unseen"),
    "websocket": (True, "WebSocket messages would not be judged"),
    "ssl_insecure": (False, "upstream certificates would not be verified"),
    "validate_inbound_headers": (True, "malformed headers smuggle requests"),
    "ignore_hosts": ((), "matching hosts bypass every check"),
    "allow_hosts": ((), "hosts that do not match bypass every check"),
    "tcp_hosts": ((), "matching hosts are forwarded as raw TCP"),
    "udp_hosts": ((), "matching hosts are forwarded as raw UDP"),
    "map_local": ((), "answers would not come from the server that was judged"),
    "map_remote": ((), "requests would go to another server than the one judged"),
    "modify_body": ((), "bodies would change after they were judged"),
    "modify_headers": ((), "headers would change after they were judged"),
    "keep_host_header": (True, "reverse mode would hide a wrong Host from the server"),
    "stream_large_bodies": (None, "large bodies would pass unread"),
    "store_streamed_bodies": (False, "memory would grow with every stream"),
    "proxy_debug": (False, "credentials and traffic would stand in the log"),
    "server": (True, "nothing would listen"),
}

# Checked where `run` takes them; set here they would go around those checks (0.0.0.0 without
# --open, another CA than the one that agents were told to trust).
OWN_OPTION: Mapping[str, str] = {
    "confdir": "--state-dir",
    "listen_host": "--listen",
    "listen_port": "--listen",
    "mode": "--mode",
    "ssl_verify_upstream_trusted_ca": "--upstream-ca",
}

DEFAULTS: Mapping[str, Any] = {
    **{name: list(value) if value == () else value for name, (value, _) in REQUIRED.items()},
    "body_size_limit": "64m",  # ours is less (judge.limits), and answers in the client's shape
    "tcp_timeout": 86_400,  # the default of 600 s cuts idle streams
    "upstream_cert": False,  # would dial upstream to copy a certificate
    "showhost": False,
}


def unsafe_options(options: Options, *, http2: bool = False) -> list[Problem]:
    """Return a problem for each option of *options* whose value opens a way around the gate.

    *http2* says that our own layers take care of HTTP/2.
    """
    problems = []
    for name, (required, danger) in REQUIRED.items():
        value = True if http2 and name == "http2" else required
        if name in options and not _same(getattr(options, name), value):
            shown = "empty" if value == () else str(value).lower()
            problems.append(
                Problem(danger, key=f"mitmproxy option {name}", hint=f"it has to be {shown}")
            )
    if not options.body_size_limit:
        problems.append(
            Problem(
                "bodies would fill the memory",
                key="mitmproxy option body_size_limit",
                hint="it has to be set, 32m for example",
            )
        )
    return problems


def misplaced_options(chosen: Sequence[str]) -> list[Problem]:
    """Return a problem for each ``NAME=VALUE`` of *chosen* that has an option of its own."""
    names = dict.fromkeys(setting.partition("=")[0] for setting in chosen)
    return [
        Problem("has an option of its own", key=f"mitmproxy option {name}",
                hint=f"use {OWN_OPTION[name]}")
        for name in names
        if name in OWN_OPTION
    ]  # fmt: skip


def apply_options(options: Options, settings: Mapping[str, Any], chosen: Sequence[str]) -> None:
    """Set our defaults and *settings* at once, then the ``NAME=VALUE`` settings of *chosen*.

    Raises what mitmproxy raises (OptionsError) for an unknown name or a bad value.
    """
    # At once: with the default confdir mitmproxy would make a CA in the user's home.
    known = {name: value for name, value in DEFAULTS.items() if name in options}
    options.update(**{**known, **settings})
    options.set(*chosen)


def _same(actual: object, required: object) -> bool:
    if isinstance(required, tuple):
        return not actual
    return actual == required
