"""What every server that the SDK clients talk to offers, and how it tells what it did.

A server prints JSON lines: ``{"port": N}``, then ``{"ran": NAME, "arguments": {...}}`` for each
tool, prompt or resource before it answers. Runs on both lines of the Python SDK.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn


def tell(**fields: object) -> None:
    """Print one line to whoever started the server."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def ran(what: str, /, **arguments: object) -> None:
    """Tell that *what* truly ran."""
    tell(ran=what, arguments=arguments)


def read_note(title: str) -> str:
    ran("read_note", title=title)
    return f"The note {title!r} says: water the plants."


def delete_note(title: str) -> str:
    ran("delete_note", title=title)
    return f"{title!r} is gone."


def publish_note(title: str) -> str:
    ran("publish_note", title=title)
    return f"The world can read {title!r}."


def save_note(title: str, text: str) -> str:
    ran("save_note", title=title, text=text)
    return f"Saved {title!r}."


def show_settings(key: list[int]) -> str:
    # As numbers, or the call that asks for it would be what is redacted.
    ran("show_settings", key=key)
    return f"région=\t'eu'\nkey={''.join(map(chr, key))};\nend \\ \u2028"


def greeting(name: str) -> str:
    ran("greeting", name=name)
    return f"Greet {name}."


def farewell(name: str) -> str:
    ran("farewell", name=name)
    return f"Say goodbye to {name}."


def public() -> str:
    ran("note://public")
    return "Opening hours: nine to five."


def private() -> str:
    ran("note://private")
    return "The combination of the safe."


def add_tools(server: Any) -> None:
    """Add one tool for each thing that a policy can do with a call, and texts to read."""
    for tool in (read_note, delete_note, publish_note, save_note, show_settings):
        server.tool()(tool)
    for prompt in (greeting, farewell):
        server.prompt()(prompt)
    server.resource("note://public")(public)
    server.resource("note://private")(private)


def serve(app: Any, certificate: Path) -> None:
    """Serve *app* with TLS on a free port of loopback until killed."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, ssl_certfile=str(certificate), log_level="error",
    )  # fmt: skip
    listener = config.bind_socket()
    tell(port=listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])
