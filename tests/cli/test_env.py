"""What ``mitmgate env`` prints is read by real shells, and means the same in each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mitmgate.cli.env import Shell, env, proxy_address, render, running_address, warnings
from mitmgate.errors import ConfigError

app = typer.Typer()
app.command()(env)

NASTY = {
    "SPACES": "/srv/my state/ca.pem",
    "QUOTES": 'it\'s "quoted"',
    "EXPANSION": "$HOME `id` $(id) !x *",
    "BACKSLASH": "a\\b\\",
    "SEMICOLON": "a; exit 7",
    "EMPTY": "",
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NO_PROXY", "no_proxy", "JAVA_TOOL_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "it's my state"


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--state-dir", str(state), *arguments], catch_exceptions=False)


def values(state: Path, *arguments: str) -> dict[str, str]:
    parsed: dict[str, str] = json.loads(run(state, "--shell", "json", *arguments).stdout)
    return parsed


def say_running(state: Path, listen: str, pid: int) -> None:
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "run.json").write_text(json.dumps({"listen": listen, "pid": pid}))


def environment_after(script: str, *shell: str) -> dict[str, str]:
    """Run *script* in a real shell and return the environment that its children get."""
    lines = subprocess.run(
        [*shell, f"{script}\nenv -0"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    return dict(line.split("=", 1) for line in lines.split("\0") if line)


# fish is tested where it is installed: nothing here may be skipped
REAL_SHELLS = {
    name: shell
    for name, shell in {
        "sh": (Shell.SH, "sh", "-c"),
        "bash": (Shell.SH, "bash", "-c"),
        "zsh": (Shell.SH, "zsh", "-c"),
        "fish": (Shell.FISH, "fish", "-c"),
    }.items()
    if shutil.which(name)
}


@pytest.mark.parametrize("shell", REAL_SHELLS.values(), ids=REAL_SHELLS)
def test_a_real_shell_sets_exactly_these_values(shell: tuple[Shell, str, str]) -> None:
    kind, *command = shell
    seen = environment_after(render(kind, NASTY), *command)
    assert {name: seen[name] for name in NASTY} == NASTY


def test_eval_of_the_whole_output_gives_what_json_says(state: Path) -> None:
    seen = environment_after(run(state).stdout, "sh", "-c")
    assert {name: seen.get(name) for name in values(state)} == values(state)


LINES = {
    "powershell doubles a single quote": (Shell.POWERSHELL, "it's $x", "$env:N = 'it''s $x'"),
    "dotenv leaves a plain value bare, for docker": (Shell.DOTENV, "/a/b.pem", "N=/a/b.pem"),
    "dotenv takes single quotes where there are spaces": (Shell.DOTENV, "a b", "N='a b'"),
    "dotenv takes double quotes around a single one": (Shell.DOTENV, "it's", 'N="it\'s"'),
    "fish escapes a backslash and a quote": (Shell.FISH, "\\'", "set -gx N '\\\\\\''"),
}


@pytest.mark.parametrize(("shell", "value", "line"), LINES.values(), ids=LINES)
def test_quoting(shell: Shell, value: str, line: str) -> None:
    assert render(shell, {"N": value}) == line


def test_the_proxy_is_named_in_upper_and_lower_case(state: Path) -> None:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    assert {values(state)[name] for name in names} == {"http://127.0.0.1:8080"}
    assert "NO_PROXY" not in values(state)


def test_who_adds_a_root_gets_the_ca_and_who_replaces_them_gets_all(state: Path) -> None:
    found = values(state)
    assert found["NODE_EXTRA_CA_CERTS"] == found["DENO_CERT"]
    assert Path(found["DENO_CERT"]).read_text().count("BEGIN CERTIFICATE") == 1
    assert Path(found["SSL_CERT_FILE"]).read_text().count("BEGIN CERTIFICATE") > 50
    replacing = (
        "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT",
        "CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE", "CODEX_CA_CERTIFICATE", "HEX_CACERTS_PATH",
    )  # fmt: skip
    assert {found[name] for name in replacing} == {found["SSL_CERT_FILE"]}


def test_node_is_told_to_use_the_proxy(state: Path) -> None:
    assert values(state)["NODE_USE_ENV_PROXY"] == "1"


def test_java_gets_the_proxy_and_a_trust_store_although_its_path_has_spaces(state: Path) -> None:
    options = values(state)["JAVA_TOOL_OPTIONS"]
    assert "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8080" in options
    assert f'-Djavax.net.ssl.trustStore="{state / "ca" / "mitmgate-truststore.p12"}"' in options


def test_nothing_printed_names_the_key(state: Path) -> None:
    assert "mitmproxy-ca.pem" not in run(state).output


def test_the_address_is_that_of_the_running_proxy(state: Path) -> None:
    say_running(state, "127.0.0.1:9191", os.getpid())
    assert values(state)["HTTPS_PROXY"] == "http://127.0.0.1:9191"


def test_the_address_of_a_dead_proxy_is_forgotten(state: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    say_running(state, "127.0.0.1:9191", child.pid)
    assert values(state)["HTTPS_PROXY"] == "http://127.0.0.1:8080"
    assert "no proxy runs here; assuming 127.0.0.1:8080" in run(state).stderr


def test_listen_wins_over_the_running_proxy(state: Path) -> None:
    say_running(state, "127.0.0.1:9191", os.getpid())
    assert values(state, "--listen", "10.0.0.7:3128")["http_proxy"] == "http://10.0.0.7:3128"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"listen": "x", "pid": "y"}', "null"])
def test_a_damaged_run_file_is_named_with_a_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=r"run\.json.*--listen HOST:PORT"):
        running_address(tmp_path)


ADDRESSES = {
    "a name and a port": ("proxy.example:3128", ("proxy.example", 3128)),
    "an IPv6 address in brackets": ("[::1]:8080", ("::1", 8080)),
    "the IPv4 wildcard is dialled on loopback": ("0.0.0.0:8080", ("127.0.0.1", 8080)),
    "the IPv6 wildcard is dialled on loopback": ("[::]:8080", ("::1", 8080)),
}


@pytest.mark.parametrize(("listen", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_address(listen: str, address: tuple[str, int]) -> None:
    assert proxy_address(listen) == address


@pytest.mark.parametrize(
    "listen", ["", "8080", ":8080", "host", "host:", "host:0", "host:65536", "host:80a", "a b:80",
               "host:-1", "host:\u0663", "\nhost:80"],
)  # fmt: skip
def test_no_address(listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        proxy_address(listen)


WARNINGS = {
    "a star in NO_PROXY": ({"NO_PROXY": "localhost, *"}, "unset NO_PROXY"),
    "a star in no_proxy, written with spaces": ({"no_proxy": "a *"}, "unset no_proxy"),
    "options for Java that would be lost": ({"JAVA_TOOL_OPTIONS": "-Xmx1g"}, "replaced"),
}


@pytest.mark.parametrize(("environment", "words"), WARNINGS.values(), ids=WARNINGS)
def test_it_warns_of(environment: dict[str, str], words: str) -> None:
    (warning,) = warnings(environment)
    assert words in warning


def test_it_is_silent_about_an_ordinary_no_proxy() -> None:
    assert warnings({"NO_PROXY": "localhost,127.0.0.1,.corp.example"}) == []


def test_warnings_go_to_standard_error_so_that_eval_stays_safe(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    result = run(state)
    assert "warning: NO_PROXY=*" in result.stderr
    assert "warning:" not in result.stdout
