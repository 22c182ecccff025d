"""What a request says of its framing and of the next hop: one reading for whoever stands behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import request

from mitmgate.errors import WireError
from mitmgate.judge.heads import check_head
from mitmgate.judge.inputs import RequestInput


def asked(*headers: tuple[str, str], method: str = "POST", target: str = "/") -> RequestInput:
    made = request(method, headers=())
    return replace(made, head=replace(made.head, target=target, headers=headers))


def coded(value: str) -> RequestInput:
    return asked(("transfer-encoding", value))


CODING = "a Transfer-Encoding other than chunked"
HOP = "Connection names a header that is for the server"
REFUSED: dict[str, tuple[RequestInput, str]] = {
    "gzip below the chunks": (coded("gzip, chunked"), CODING),
    "deflate below the chunks": (coded("deflate,chunked"), CODING),
    "gzip alone": (coded("gzip"), CODING),
    "no coding": (coded("identity"), CODING),
    "chunks within chunks": (coded("chunked, chunked"), CODING),
    "a coding without a name": (coded(""), CODING),
    "the length ends at the next hop": (asked(("connection", "content-length")), HOP),
    "the host ends there": (asked(("connection", "close, Host")), HOP),
    "the coding ends there": (asked(("connection", "\ttransfer-encoding")), HOP),
    "the credentials end there, in a second header": (
        asked(("connection", "a"), ("connection", "b,authorization")), HOP),
    "the session of MCP ends there": (asked(("connection", "mcp-session-id")), HOP),
    "a fragment": (asked(target="/a#b"), "the request target holds a #"),
    "a fragment of dots": (asked(target="/a#/../b"), "the request target holds a #"),
    "a method in small letters": (asked(method="delete"), "the method is not in capitals"),
    "a method in letters of both sizes": (asked(method="Post"), "the method is not in capitals"),
}  # fmt: skip
READ: dict[str, RequestInput] = {
    "chunks": coded("chunked"),
    "chunks in capitals": coded("Chunked"),
    "a connection that ends": asked(("connection", "close")),
    "a WebSocket": asked(("connection", "keep-alive, Upgrade")),
    "a header of one hop": asked(("connection", "x-trace, te")),
    "an escaped fragment": asked(target="/a%23b"),
    "a method of WebDAV": asked(method="PROPFIND"),
    "a method of its own in small letters": asked(method="m-search"),
}


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(given: RequestInput, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        check_head(given)
    assert (caught.value.code, str(caught.value)) == ("malformed_request", reason)


@pytest.mark.parametrize("given", READ.values(), ids=READ)
def test_it_is_read(given: RequestInput) -> None:
    check_head(given)


@given(
    st.lists(st.sampled_from(["close", "x", "", "keep-alive"])),
    st.lists(st.sampled_from(["close", "y", ""])),
    st.sampled_from(["host", "Content-Length", "TRANSFER-ENCODING"]),
    st.sampled_from([",", " ,", ", ", "\t,\t"]),
)
def test_no_place_in_a_list_hides_a_name(
    before: list[str], after: list[str], name: str, comma: str
) -> None:
    check_head(asked(("connection", comma.join([*before, *after]))))
    with pytest.raises(WireError):
        check_head(asked(("connection", comma.join([*before, name, *after]))))
