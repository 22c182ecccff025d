"""Package indexes, read from the configuration of the tools that use them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.indexes import (
    Place,
    apt_places,
    apt_stanzas,
    cargo_downloads,
    cargo_places,
    index_rules,
    npm_places,
    pip_defaults,
    pip_places,
    place_of,
)

PIP = """\
:env:.index-url='https://user:hunter2@index.example/simple'
global.extra-index-url='\\nhttps://two.example/simple\\nhttp://three.example:8081/simple/'
install.find-links='/srv/wheels'
global.timeout='60'
global.cert='/etc/ca.pem'
"""
PIP_SOURCE = """\
class PackageIndex: ...
PyPI = PackageIndex("https://index.example/", file_storage_domain="files.example")
TestPyPI = PackageIndex("https://test.example/", file_storage_domain="test-files.example")
"""
NPM = json.dumps(
    {
        "registry": "https://registry.example/",
        "@team:registry": "https://team.example:8443/npm/",
        "//registry.example/:_authToken": "hunter2",
        "audit": True,
        "proxy": None,
    }
)
CARGO = """\
[registries.team]
index = "sparse+https://crates.example/index/"
token = "hunter2"
[source.crates-io]
replace-with = "mirror"
[source.mirror]
registry = "https://mirror.example/index"
[source.local]
directory = "vendor"
"""
APT = """\
# deb http://old.example/debian stable main
deb [arch=amd64 signed-by=/x.gpg] https://archive.example/debian stable main  # comment
deb-src https://archive.example/debian/ stable main
deb cdrom:[Debian]/ stable main
deb mirror+http://mirror.example:8000/list stable main
rpm https://other.example/ x
"""
DEB822 = """\
Types: deb
URIs: https://archive.example/debian
 https://second.example/debian
Suites: stable

# a comment
Enabled: no
URIs: https://off.example/debian

Types: deb
uris: file:/srv/debian http://user:hunter2@third.example/ubuntu
"""
READ: dict[str, tuple[Callable[[str], list[Place]], str, list[Place]]] = {
    "pip": (
        pip_places, PIP,
        [Place("index.example"), Place("three.example", 8081), Place("two.example")]),
    "pip's own": (pip_defaults, PIP_SOURCE, [Place("files.example"), Place("index.example")]),
    "npm": (npm_places, NPM, [Place("registry.example"), Place("team.example")]),
    "cargo": (cargo_places, CARGO, [Place("crates.example"), Place("mirror.example")]),
    "what a registry of cargo says of downloads": (
        cargo_downloads, '{"dl": "https://dl.example/{crate}/{version}", "api": "x"}',
        [Place("dl.example")]),
    "apt": (
        apt_places, APT,
        [Place("archive.example", None, "/debian"), Place("mirror.example", 8000, "/list")]),
    "apt in stanzas": (
        apt_stanzas, DEB822,
        [Place("archive.example", None, "/debian"), Place("second.example", None, "/debian"),
         Place("third.example", None, "/ubuntu")]),
}  # fmt: skip
READERS = [read for read, _, _ in READ.values()]


@pytest.mark.parametrize(("read", "text", "places"), READ.values(), ids=READ)
def test_what_is_read(read: Callable[[str], list[Place]], text: str, places: list[Place]) -> None:
    assert read(text) == places
    assert "hunter2" not in repr(read(text))


@pytest.mark.parametrize("read", READERS)
@given(text=st.text() | st.sampled_from([PIP, NPM, CARGO, APT, DEB822]).map(lambda t: t[3:]))
def test_nothing_that_is_read_fails(read: Callable[[str], list[Place]], text: str) -> None:
    assert isinstance(read(text), list)


PLACES = {
    "a path that no rule can name": ("https://h.example/a%20b", Place("h.example")),
    "a port of the web": ("https://h.example:8080/x", Place("h.example", None, "/x")),
    "another port": ("http://h.example:3128/", Place("h.example", 3128)),
    "a file": ("file:///srv", None),
    "a command": ("git+ssh://h.example/x", None),
    "no host": ("https:///x", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("url", "place"), PLACES.values(), ids=PLACES)
def test_places(url: str, place: Place | None) -> None:
    assert place_of(url, whole=False) == place


def test_rules_are_as_few_as_the_places_let_them_be() -> None:
    places = [Place("b.example"), Place("a.example"), Place("c.example", 8081, "/x")]
    assert list(index_rules("pip", places)) == [
        {"id": "index-pip-1", "host": ["a.example", "b.example"], "methods": ["GET", "HEAD"],
         "then": "allow"},
        {"id": "index-pip-2", "host": ["c.example"], "ports": [8081], "paths": ["/x"],
         "methods": ["GET", "HEAD"], "then": "allow"},
    ]  # fmt: skip
