"""``mitmgate env``: what to set on an agent's host, so that its traffic comes here."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mitmgate.cli.state import state_dir
from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.ca.authority import Authority

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
RUN_FILE: Final = "run.json"

# These programs add our CA to the roots they have; the others replace their roots, and
# need the bundle that holds both.
_ADDING: Final = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
_REPLACING: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "NIX_SSL_CERT_FILE",
    "CODEX_CA_CERTIFICATE",
    "HEX_CACERTS_PATH",
)
_PROXY: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class Shell(StrEnum):
    """The ways to write a list of variables."""

    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"
    DOTENV = "dotenv"
    JSON = "json"


def env(
    shell: Annotated[Shell, typer.Option(help="How to write it.")] = Shell.SH,
    state: Annotated[
        Path | None, typer.Option("--state-dir", help="Where mitmgate keeps its files.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The proxy's address [default: the running one]."),
    ] = None,
) -> None:
    """Print what to set on an agent's host: the proxy, and the CA for every kind of program.

    \b
    Example: eval "$(mitmgate env)"
    Example: mitmgate env --shell fish | source
    Example: mitmgate env --shell dotenv > agent.env
    """
    from mitmgate.ca.authority import ensure_ca

    folder = state_dir(state)
    proxy = proxy_address(listen) if listen else running_address(folder)
    lines = render(shell, variables(ensure_ca(folder / "ca"), proxy))
    for warning in warnings(os.environ):
        print(f"warning: {warning}", file=sys.stderr)
    typer.echo(lines)


def variables(authority: Authority, proxy: tuple[str, int]) -> dict[str, str]:
    """Return every variable to set, and write the bundles that they name."""
    from mitmgate.ca.bundle import BUNDLE_FILE, TRUSTSTORE_FILE, combined_bundle, java_truststore

    folder = authority.folder
    bundle = combined_bundle(authority, folder / BUNDLE_FILE)
    truststore = java_truststore(authority, folder / TRUSTSTORE_FILE)
    host, port = proxy
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return {
        **dict.fromkeys(_PROXY, url),
        "NODE_USE_ENV_PROXY": "1",
        **dict.fromkeys(_ADDING, str(authority.cert_path)),
        **dict.fromkeys(_REPLACING, str(bundle)),
        "JAVA_TOOL_OPTIONS": _java_options(proxy, truststore),
    }


def _java_options(proxy: tuple[str, int], truststore: Path) -> str:
    # The JVM reads no proxy variables, splits this one at spaces and knows both quotes.
    from mitmgate.ca.bundle import TRUSTSTORE_PASSWORD

    host, port = proxy
    options = [
        f"-D{scheme}.{name}"
        for scheme in ("http", "https")
        for name in (f"proxyHost={host}", f"proxyPort={port}")
    ]
    mark = '"' if "'" in str(truststore) else "'"
    store = f"{mark}{truststore}{mark}" if " " in str(truststore) else str(truststore)
    options += [
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={TRUSTSTORE_PASSWORD}",
    ]
    return " ".join(options)


def proxy_address(listen: str) -> tuple[str, int]:
    """Return the host and port to dial for a proxy that listens on *listen*."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not (colon and host and 0 < number < 65536) or host.strip() != host or " " in host:
        hint = f"write HOST:PORT, such as {DEFAULT_LISTEN}"
        raise ConfigError(Problem(f"{listen!r} is no address", key="--listen", hint=hint))
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), number


def running_address(folder: Path) -> tuple[str, int]:
    """Return where the proxy of the state *folder* listens, or would by default."""
    try:
        text = (folder / RUN_FILE).read_text("utf-8")
    except FileNotFoundError:
        return _assumed()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder) from error
    try:
        state = json.loads(text)
        listen, pid = str(state["listen"]), int(state["pid"])
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(folder) from error
    return proxy_address(listen) if _alive(pid) else _assumed()


def _assumed() -> tuple[str, int]:
    print(f"warning: no proxy runs here; assuming {DEFAULT_LISTEN}", file=sys.stderr)
    return proxy_address(DEFAULT_LISTEN)


def _damaged(folder: Path) -> ConfigError:
    hint = "give the address with --listen HOST:PORT, or start the proxy again"
    return ConfigError(
        Problem("does not say where the proxy listens", file=str(folder / RUN_FILE), hint=hint)
    )


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False  # 0 and below name whole groups of processes
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # it lives, under another user
    except (ProcessLookupError, OverflowError):
        return False
    return True


def warnings(environment: Mapping[str, str]) -> list[str]:
    """Return what in *environment* would lead traffic around the proxy or is replaced."""
    found = [
        f"{name}={environment[name]} leads all traffic around the proxy; run: unset {name}"
        for name in ("NO_PROXY", "no_proxy")
        if _covers_everything(environment.get(name, ""))
    ]
    java = environment.get("JAVA_TOOL_OPTIONS", "")
    if java and "mitmgate-truststore" not in java:
        found.append("JAVA_TOOL_OPTIONS is set already and will be replaced; merge them by hand")
    return found


def _covers_everything(no_proxy: str) -> bool:
    entries = no_proxy.replace(",", " ").split()
    return any(entry in {"*", ".", "*.*", "0.0.0.0/0", "::/0"} for entry in entries)


def render(shell: Shell, values: Mapping[str, str]) -> str:
    """Return *values* in the words of *shell*; names are ours, values may hold anything."""
    if shell is Shell.JSON:
        return json.dumps(dict(values), indent=2)
    line = _LINES[shell]
    return "\n".join(line(name, value) for name, value in values.items())


def _sh(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$env:{name} = '{quoted}'"


def _dotenv(name: str, value: str) -> str:
    # No quotes where none are needed: `docker run --env-file` would keep them.
    if shlex.quote(value) == value:
        return f"{name}={value}"
    if "'" not in value:
        return f"{name}='{value}'"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{quoted}"'


_LINES: Final[Mapping[Shell, Callable[[str, str], str]]] = {
    Shell.SH: _sh,
    Shell.FISH: _fish,
    Shell.POWERSHELL: _powershell,
    Shell.DOTENV: _dotenv,
}
