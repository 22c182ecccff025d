"""The proxy that an operator names, and how it is spoken to; without a socket."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.connection import Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.test import tflow

from mitmgate.errors import ConfigError
from mitmgate.mitm.master import _unsupported_modes
from mitmgate.mitm.upstream import ANSWER_BYTES, FAILED, GateUpstreamProxy, Upstream, carried
from mitmgate.serve.upstream import read_upstream

# The option, and the proxy; or what the refusal says.
URLS: dict[str, tuple[str, tuple[str, str, int] | str]] = {
    "a name": ("http://Proxy.Example:3128", ("http", "proxy.example", 3128)),
    "a slash at the end": ("http://proxy.example:3128/", ("http", "proxy.example", 3128)),
    "TLS": ("https://proxy.example", ("https", "proxy.example", 443)),
    "no port": ("http://proxy.example", ("http", "proxy.example", 80)),
    "an address": ("http://[2001:db8::1]:3128", ("http", "2001:db8::1", 3128)),
    "no scheme": ("proxy.example:3128", "not a URL of a proxy"),
    "another protocol": ("socks5://proxy.example:1080", "not a URL of a proxy"),
    "credentials": ("http://me:topsecret@proxy.example", "do not belong there"),
    "credentials without a scheme": ("me:topsecret@proxy.example", "--upstream"),
    "a path": ("http://proxy.example/a", "--upstream"),
    "a number": ("http://2130706433", "--upstream"),
}


@pytest.mark.parametrize(("url", "expected"), URLS.values(), ids=URLS)
def test_urls(url: str, expected: tuple[str, str, int] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ConfigError) as caught:
            read_upstream(url)
        assert expected in str(caught.value)
        assert "topsecret" not in str(caught.value)
    else:
        made = read_upstream(url)
        assert made == Upstream(*expected)  # type: ignore[arg-type]


def test_mitmproxys_own_mode_is_refused_with_the_way_to_say_it() -> None:
    [problem] = _unsupported_modes(["upstream:http://proxy.example:3128"])
    assert "--upstream" in (problem.hint or "")


def test_options_without_a_proxy_are_refused(tmp_path: Path) -> None:
    assert read_upstream(None) is None
    for rest in ({"names": "there"}, {"credentials": tmp_path}):
        with pytest.raises(ConfigError, match="--upstream"):
            read_upstream(None, **rest)


def test_credentials_are_read_from_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("user:päss:word\n", encoding="utf-8")
    file.chmod(0o600)
    made = read_upstream("http://proxy.example", credentials=file)
    assert made is not None
    assert made.credentials == "Basic dXNlcjpww6Rzczp3b3Jk"
    assert "dXNlcjpww6Rzczp3b3Jk" not in repr(made)


# What is in the file, its mode, and what the refusal says.
FILES: dict[str, tuple[bytes, int, str]] = {
    "others may read it": (b"user:topsecret", 0o640, "open to other users"),
    "no password": (b"topsecret", 0o600, "holds no credentials"),
    "no user": (b":topsecret", 0o600, "holds no credentials"),
    "two lines": (b"user:topsecret\nx: y", 0o600, "holds no credentials"),
    "no text": (b"\xff\xfe:topsecret", 0o600, "no text"),
    "nothing": (b"", 0o600, "holds no credentials"),
}


@pytest.mark.parametrize(("content", "mode", "words"), FILES.values(), ids=FILES)
def test_credentials_that_cannot_be_used(
    content: bytes, mode: int, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "login"
    file.write_bytes(content)
    os.chmod(file, mode)  # noqa: PTH101 - as it is
    with pytest.raises(ConfigError) as caught:
        read_upstream("http://proxy.example", credentials=file)
    assert words in str(caught.value)
    assert "topsecret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_upstream("http://proxy.example", credentials=tmp_path / "nowhere")


HEAD = b"CONNECT a HTTP/1.1\r\n\r\n"


class Child(Layer):
    """Opens the server's connection, and keeps what comes of it."""

    def __init__(self, where: context.Context) -> None:
        super().__init__(where)
        self.said: str | None = "nothing yet"

    def _handle_event(self, event: events.Event) -> Any:
        if isinstance(event, events.Start):
            self.said = yield commands.OpenConnection(self.context.server)


class Way:
    """A tunnel in a connection to the proxy."""

    def __init__(self, head: bytes | None = HEAD) -> None:
        where = context.Context(tflow.tclient_conn(), Options())
        where.server = Server(address=("good.example", 443))
        where.server.via = ("http", ("10.20.30.40", 3128))
        stack = HttpUpstreamProxy.make(where, True)
        self.child = Child(where)
        stack /= self.child
        self.top = stack[0]
        assert isinstance(self.top, HttpUpstreamProxy)
        self.outer: Any = self.top.tunnel_connection
        self.head = head
        carried(self.top, self, self.outer)
        assert type(self.top) is GateUpstreamProxy
        self.sent: list[bytes] = []
        self.closed = False
        self._opening: commands.OpenConnection | None = None
        self.give(events.Start())

    def carries(self, _client: str, outer: Server, inner: Server) -> None:
        assert (outer, inner) == (self.outer, self.child.context.server)

    def head_for(self, _client: str, outer: Server) -> bytes | None:
        assert outer is self.outer
        return self.head

    def give(self, event: events.Event) -> None:
        for command in self.top.handle_event(event):
            if isinstance(command, commands.OpenConnection):
                self._opening = command
            elif isinstance(command, commands.SendData):
                self.sent.append(command.data)
            elif isinstance(command, commands.CloseConnection):
                self.closed = True

    def reached(self, error: str | None = None) -> Way:
        assert self._opening is not None
        self.give(events.OpenConnectionCompleted(self._opening, error))
        return self

    def answered(self, *pieces: bytes) -> str | None:
        for piece in pieces:
            if self.child.said == "nothing yet":
                self.give(events.DataReceived(self.outer, piece))
        return self.child.said


# What the proxy answers, and what is said of it; None: the tunnel stands.
ANSWERS: dict[str, tuple[bytes, str | None]] = {
    "yes": (b"HTTP/1.1 200 Connection established\r\n\r\n", None),
    "yes, in other words": (b"HTTP/1.0 204\r\nvia: x\r\n\r\n", None),
    "yes, after a while": (b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None),
    "yes, and a body that there is not": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "sent more than its answer"),
    "who are you": (
        b"HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\n\r\n",
        "does not take the credentials (407)"),
    "no": (b"HTTP/1.1 403 <b>No</b>\r\n\r\n<html>", "did not open the way (status 403)"),
    "elsewhere": (b"HTTP/1.1 302 Found\r\n\r\n", "did not open the way (status 302)"),
    "not reached": (b"HTTP/1.1 504 10.1.2.3\r\n\r\n", "did not open the way (status 504)"),
    "SSH": (b"SSH-2.0-x\r\n\r\n", "gave no answer that can be read"),
    "an empty line": (b"\r\n", "gave no answer that can be read"),
    "no end": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * ANSWER_BYTES,
               "gave no answer that can be read"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_answers_of_the_proxy(answer: bytes, said: str | None) -> None:
    way = Way().reached()
    assert way.sent == [HEAD]
    assert way.answered(answer) == (None if said is None else FAILED + said)
    assert way.closed == (said is not None)


@given(st.sampled_from([answer for answer, _ in ANSWERS.values() if len(answer) < 99]), st.data())
def test_answers_in_pieces_say_the_same(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=5)))
    edges = [0, *cuts, len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(edges) if a < b]
    whole = Way().reached().answered(answer)
    said = Way().reached().answered(*pieces)
    # A body behind a refusal, or an answer that was whole before more came, makes no difference.
    assert whole in (said, f"{FAILED}sent more than its answer")


@given(st.binary(max_size=200))
def test_no_answer_names_the_proxy_or_opens_the_way_by_itself(answer: bytes) -> None:
    said = Way().reached().answered(answer)
    if said is None:
        assert answer.startswith(b"HTTP/")
    else:
        assert "10.20.30.40" not in said


TROUBLE: dict[str, tuple[str, str]] = {
    "nobody there": ("[Errno 111] Connect call failed ('10.20.30.40', 3128)",
                     "cannot be reached, or closed the connection"),
    "a certificate": ("Certificate verify failed: self-signed certificate",
                      "has a certificate that is not trusted"),
    "refused by us": ("Connection killed: unresolvable",
                      "cannot be reached, or closed the connection"),
}  # fmt: skip


@pytest.mark.parametrize(("error", "said"), TROUBLE.values(), ids=TROUBLE)
def test_a_proxy_that_is_not_reached(error: str, said: str) -> None:
    way = Way().reached(error)
    assert (way.child.said, way.sent) == (FAILED + said, [])


def test_a_proxy_that_hangs_up() -> None:
    way = Way().reached()
    way.give(events.ConnectionClosed(way.outer))
    assert way.child.said == f"{FAILED}cannot be reached, or closed the connection"


def test_without_a_checked_target_nothing_is_asked() -> None:
    way = Way(head=None).reached()
    assert (way.sent, way.closed) == ([], True)
