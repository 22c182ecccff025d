"""A text is one JSON-RPC message or batch, or it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.jsonrpc import (
    Batch,
    Failure,
    Message,
    Notification,
    Request,
    Result,
    looks_like_jsonrpc,
    parse_message,
)


def spell(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", **members})


MESSAGES: dict[str, tuple[str, Message | Batch]] = {
    "a request": (spell(id=1, method="ping"), Request(1, "ping")),
    "zero is an id": (spell(id=0, method="ping"), Request(0, "ping")),
    "the empty string is an id": (spell(id="", method="ping"), Request("", "ping")),
    "big ids stay exact": (spell(id=2**70, method="ping"), Request(2**70, "ping")),
    "the order of keys does not matter": (
        '{"method":"ping","id":1,"jsonrpc":"2.0"}',
        Request(1, "ping"),
    ),
    "null params are none": (spell(id=1, method="ping", params=None), Request(1, "ping")),
    "params are kept": (spell(id=1, method="x", params={"a": 1}), Request(1, "x", {"a": 1})),
    "no id makes a notification": (spell(method="n"), Notification("n")),
    "a result may be anything": (spell(id=1, result=None), Result(1, None)),
    "a failure": (spell(id=1, error={"code": 1}), Failure(1, {"code": 1})),
    "a failure without an id": (spell(error={"code": 1}), Failure(None, {"code": 1})),
    "a failure with a null id": (spell(id=None, error={}), Failure(None, {})),
    "a batch": (
        f"[{spell(id=1, method='a')},{spell(method='b')}]",
        Batch((Request(1, "a"), Notification("b"))),
    ),
    "keys of arguments may look like anything": (
        spell(id=1, method="tools/call", params={"name": "x", "arguments": {"ID": 1, "id": 2}}),
        Request(1, "tools/call", {"name": "x", "arguments": {"ID": 1, "id": 2}}),
    ),
}


@pytest.mark.parametrize(("text", "message"), MESSAGES.values(), ids=MESSAGES)
def test_reads(text: str, message: Message | Batch) -> None:
    assert parse_message(text) == message


REFUSED = {
    "no JSON": ("{", "not_json"),
    "a duplicate method": (
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        "duplicate_key",
    ),
    "a scalar": ("1", "not_jsonrpc"),
    "no version": ('{"id":1,"method":"x"}', "not_jsonrpc"),
    "another version": ('{"jsonrpc":"1.0","id":1,"method":"x"}', "not_jsonrpc"),
    "a version that is a number": ('{"jsonrpc":2.0,"id":1,"method":"x"}', "not_jsonrpc"),
    "nothing but an id": (spell(id=1), "not_jsonrpc"),
    "request and answer in one": (spell(id=1, method="x", result={}), "not_jsonrpc"),
    "request and failure in one": (spell(id=1, method="x", error={}), "not_jsonrpc"),
    "result and error in one": (spell(id=1, result={}, error=None), "not_jsonrpc"),
    "a method that is no string": (spell(id=1, method=1), "not_jsonrpc"),
    "an error that is no object": (spell(id=1, error="x"), "not_jsonrpc"),
    "a null id": (spell(id=None, method="x"), "bad_id"),
    "a true id": (spell(id=True, method="x"), "bad_id"),
    "a fractional id": (spell(id=1.5, method="x"), "bad_id"),
    "an id that is a list": (spell(id=[1], method="x"), "bad_id"),
    "a result without an id": (spell(result={}), "bad_id"),
    "a result with a null id": (spell(id=None, result={}), "bad_id"),
    "a failure with a false id": (spell(id=False, error={}), "bad_id"),
    "params by position": (spell(id=1, method="x", params=[1]), "bad_params"),
    "params that are a string": (spell(id=1, method="x", params="a"), "bad_params"),
    "an empty batch": ("[]", "empty_batch"),
    "a batch in a batch": (f"[[{spell(id=1, method='x')}]]", "not_jsonrpc"),
    "a batch with a scalar": (f"[{spell(id=1, method='x')},1]", "not_jsonrpc"),
    "a near-double beside the method": (spell(id=1, method="x", Method="y"), "ambiguous_key"),
    "a near-double of the version alone": (
        '{"JsonRpc":"2.0","id":1,"method":"x"}',
        "ambiguous_key",
    ),
    "a near-double in params": (spell(id=1, method="x", params={"Name": 1}), "ambiguous_key"),
    "a near-double in a result": (spell(id=1, result={"_META": 1}), "ambiguous_key"),
    "a near-double in a batch": (f"[{spell(id=1, method='x', Id=2)}]", "ambiguous_key"),
}


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_refuses(text: str, code: str) -> None:
    with pytest.raises(WireError) as refusal:
        parse_message(text)
    assert refusal.value.code == code


def test_plain_json_with_capital_keys_is_only_no_jsonrpc() -> None:
    with pytest.raises(WireError) as refusal:
        parse_message('{"ID": 1, "Name": "x"}')
    assert refusal.value.code == "not_jsonrpc"


FRAGMENTS = st.sampled_from(
    ['"jsonrpc":"2.0"', '"id":1', '"id":null', '"method":"tools/call"', '"params":{"name":"x"}',
     '"params":[]', '"result":{}', '"error":{}', "{", "}", "[", "]", ",", '"Method":"x"', "\0",
     "\ufeff", "NaN", "'"]
)  # fmt: skip


@given(st.text() | st.lists(FRAGMENTS).map("".join))
def test_any_text_is_a_message_or_a_wire_error(text: str) -> None:
    try:
        message = parse_message(text)
    except WireError as refusal:
        assert refusal.code
        assert isinstance(looks_like_jsonrpc(text), bool)
    else:
        assert isinstance(message, (Request, Notification, Result, Failure, Batch))


@given(st.lists(FRAGMENTS, max_size=6).map(lambda parts: "{" + ",".join(parts) + "}"))
def test_what_we_read_the_sloppy_reader_reads_too(text: str) -> None:
    try:
        parse_message(text)
    except WireError:
        return
    assert looks_like_jsonrpc(text)


@given(st.binary())
def test_any_bytes_look_like_jsonrpc_or_not(body: bytes) -> None:
    assert isinstance(looks_like_jsonrpc(body), bool)


CALL = spell(id=1, method="tools/call", params={"name": "x"})
LOOKS: dict[str, tuple[str | bytes, bool]] = {
    "a call": (CALL, True),
    "a call behind a mark and blanks": ("\ufeff \n" + CALL, True),
    "a call in a batch": (f"[{CALL}]", True),
    "a call in a nested batch": (f"[1,[{CALL}]]", True),
    "a call with a duplicate version, first wins": (
        '{"jsonrpc":"2.0","jsonrpc":null,"method":"x"}',
        True,
    ),
    "a duplicate method that hides the call": (
        '{"jsonrpc":"2.0","method":"tools/call","params":{},"method":"eth_call","params":[]}',
        True,
    ),
    "keys in capitals": ('{"JSONRPC":"2.0","METHOD":"x"}', True),
    "keys with NULs": ('{"json\\u0000rpc":"2.0","method":"x"}', True),
    "escaped keys": ('{"json\\u0072pc":"2.0","method":"x"}', True),
    "a version that is a number": ('{"jsonrpc":2,"id":1,"method":"x"}', True),
    "no version, but a method of MCP alone": ('{"method":"tools/call"}', True),
    "the second of two values": ('{"a":1}\n' + CALL, True),
    "a call with text behind it": (CALL + " garbage", True),
    "a call after a comment": ("// hi\n" + CALL, True),
    "single quotes": ("{'jsonrpc':'2.0','method':'x'}", True),
    "a trailing comma and escapes": ('{"json\\u0052PC":"2.0","method":"x",}', True),
    "a call after a thousand values": ("{}" * 1000 + CALL, True),
    "a call in endless nesting": ('{"a":' * 200_000 + CALL, True),
    "UTF-16 read as UTF-8": (CALL.encode("utf-16-le").decode(), True),
    "UTF-16 bytes beyond ASCII": (
        spell(id=1, method="tools/call", params={"name": "é"}).encode("utf-16-be"),
        True,
    ),
    "bare answers": (spell(id=1, result={}), True),
    "an object of another trade": ('{"model":"m","tools":[{"name":"x"}]}', False),
    "a method of another trade": ('{"method":"ping","id":1}', False),
    "params by position of another trade": (spell(id=1, method="eth_call", params=[1]), False),
    "params by position and by name": (
        '{"jsonrpc":"2.0","method":"x","params":{"a":1},"params":[]}',
        True,
    ),
    "params by position of a method of ours": (spell(id=1, method="tools/call", params=[1]), True),
    "prose about jsonrpc": ("how does jsonrpc work?", False),
    "the word deep inside": ('{"dependencies":{"jsonrpc":"^2"}}', False),
    "an empty text": ("", False),
    "bytes of a picture": (b"\x89PNG\r\n\x1a\n\0\0", False),
}


@pytest.mark.parametrize(("text", "looks"), LOOKS.values(), ids=LOOKS)
def test_looks_like_jsonrpc(text: str | bytes, looks: bool) -> None:
    assert looks_like_jsonrpc(text) is looks
