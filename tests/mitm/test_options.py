"""Options of mitmproxy that would open a way around the gate are refused, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.mitm.master import LeanMaster
from mitmgate.mitm.options import DEFAULTS, REQUIRED

type Configure = Callable[..., LeanMaster]

UNSAFE: dict[str, str] = {
    "connection_strategy": "eager",
    "http2": "true",
    "http3": "true",
    "rawtcp": "true",
    "websocket": "false",
    "ssl_insecure": "true",
    "validate_inbound_headers": "false",
    "ignore_hosts": "a",
    "allow_hosts": "a",
    "tcp_hosts": "a",
    "udp_hosts": "a",
    "keep_host_header": "false",
    "stream_large_bodies": "1m",
    "store_streamed_bodies": "true",
    "proxy_debug": "true",
    "server": "false",
}
# Their addons are never loaded, so the names mean nothing to our master.
NOT_THERE = {"map_local": "|a|b", "map_remote": "|a|b", "modify_body": "/a/b", "scripts": "x.py",
             "modify_headers": "/a/b", "save_stream_file": "x", "proxyauth": "a:b",
             "rfile": "x"}  # fmt: skip


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def make(*chosen: str, **settings: object) -> LeanMaster:
        master = LeanMaster()
        master.configure(object(), {"confdir": str(tmp_path / "ca"), **settings}, chosen)
        return master

    return make


async def test_the_defaults_are_safe(configure: Configure) -> None:
    options = configure().options
    assert {name: getattr(options, name) for name in DEFAULTS if name in options} == {
        name: value for name, value in DEFAULTS.items() if name in options
    }


async def test_http2_goes_with_our_own_layers_only(configure: Configure) -> None:
    assert configure(http2=True).options.http2 is True
    with pytest.raises(ConfigError, match="http2"):
        configure("http2=false", http2=True)


def test_every_required_option_has_a_case_here() -> None:
    assert set(REQUIRED) <= {*UNSAFE, *NOT_THERE}


@pytest.mark.parametrize(("name", "value"), UNSAFE.items(), ids=UNSAFE)
async def test_an_unsafe_value_is_refused(name: str, value: str, configure: Configure) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(f"{name}={value}")
    [problem] = caught.value.problems
    assert problem.key == f"mitmproxy option {name}"
    assert problem.hint
    assert problem.hint.startswith("it has to be ")


async def test_all_unsafe_values_are_refused_at_once(configure: Configure) -> None:
    unsafe = {name: value for name, value in UNSAFE.items() if name != "allow_hosts"}
    # mitmproxy itself refuses allow_hosts beside ignore_hosts.
    with pytest.raises(ConfigError) as caught:
        configure(*(f"{name}={value}" for name, value in unsafe.items()))
    told = [problem.key for problem in caught.value.problems]
    assert sorted(map(str, told)) == sorted(f"mitmproxy option {name}" for name in unsafe)


@pytest.mark.parametrize(("name", "value"), NOT_THERE.items(), ids=NOT_THERE)
async def test_an_addon_that_is_not_loaded_has_no_options(
    name: str, value: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(f"{name}={value}")
    assert name in str(caught.value)


async def test_bodies_without_a_limit_are_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="body_size_limit: bodies would fill the memory"):
        configure("body_size_limit")


async def test_a_safe_option_is_taken(configure: Configure) -> None:
    assert configure("body_size_limit=1m").options.body_size_limit == "1m"


BAD = {"nonsense": "nonsense=1", "a word for a number": "tcp_timeout=soon",
       "a third truth": "http2=maybe", "no name": "=1", "nothing": ""}  # fmt: skip


@pytest.mark.parametrize("setting", BAD.values(), ids=BAD)
async def test_what_is_no_setting_is_refused(setting: str, configure: Configure) -> None:
    with pytest.raises(ConfigError):
        configure(setting)


MODES = {"socks5": "socks5", "upstream": "upstream:http://a:1", "dns": "dns",
         "wireguard": "wireguard", "local": "local", "tun": "tun"}  # fmt: skip


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_a_mode_that_is_not_judged_is_refused(mode: str, configure: Configure) -> None:
    with pytest.raises(ConfigError, match="mode"):
        configure(mode=[mode])
