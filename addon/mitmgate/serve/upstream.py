"""What ``run --upstream`` names: a proxy, and the file of its credentials."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from mitmgate.ca.storage import check_private_file
from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.mitm.upstream import Names, Upstream
from mitmgate.net.authority import normalise_authority

_PORTS = {"http": 80, "https": 443}


def read_upstream(
    url: str | None, *, credentials: Path | None = None, names: Names = "here"
) -> Upstream | None:
    """Return the proxy at *url* (``http://host:port``), None without one.

    *credentials* is a file with ``user:password`` alone that nobody else may read. Raises
    ConfigError where *url* names no proxy, or the file cannot be used.
    """
    if url is None:
        if credentials is not None or names == "there":
            raise _refused("is missing", hint="name the proxy that the other options are for")
        return None
    scheme, _, rest = url.partition("://")
    hint = "for example http://proxy.example.com:3128"
    if "@" in rest:  # it stands in the list of processes, for everybody to read
        raise _refused("credentials do not belong there", hint="use --upstream-credentials FILE")
    if scheme not in ("http", "https"):
        raise _refused("not a URL of a proxy", hint=hint)
    try:
        authority = normalise_authority(rest.removesuffix("/"))
    except WireError as problem:
        raise _refused(str(problem), hint=hint) from problem
    return Upstream(
        scheme="https" if scheme == "https" else "http",
        host=authority.host,
        port=authority.port if authority.port is not None else _PORTS[scheme],
        names=names,
        credentials=None if credentials is None else _credentials(credentials),
    )


def _credentials(path: Path) -> str:
    try:
        check_private_file(path)
        pair = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _unread(path, f"cannot be read: {why}") from error
    if ":" not in pair or not pair.isprintable() or pair.startswith(":"):
        raise _unread(path, "holds no credentials")
    return f"Basic {b64encode(pair.encode()).decode('ascii')}"


def _unread(path: Path, message: str) -> ConfigError:
    hint = "give a file with one line, user:password"
    return ConfigError(Problem(message, file=str(path), key="--upstream-credentials", hint=hint))


def _refused(message: str, *, hint: str) -> ConfigError:
    return ConfigError(Problem(message, key="--upstream", hint=hint))
