"""Values that are secret by the name before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.record.sensitive import form_values, is_sensitive, secret_values

FOUND = {
    "a query parameter": ("/x?api_key=AAAA&page=2", ["AAAA"]),
    "a query parameter whose name is encoded": ("/x?%61pi_key=AAAA", ["AAAA"]),
    "a session in a query": ("/messages/?session_id=AAAA", ["AAAA"]),
    "a code in a query": ("cb?code=AAAA&state=BBBB", ["AAAA", "BBBB"]),
    "a parameter inside another one's URL": ("/x?to=http://h/?token=AAAA", ["AAAA"]),
    "a shell assignment": ("export API_KEY=AAAA other", ["AAAA"]),
    "a quoted shell assignment": ("PASSWORD='AA AA' x", ["AA AA"]),
    "a string member of JSON in a text": ('say {"password": "AAAA"}', ["AAAA"]),
    "a member with an escaped name": ('{"pass\\u0077ord":"AAAA"}', ["AAAA"]),
    "a member whose value has an escaped quote": ('{"token":"AA\\"AA"}', ['AA\\"AA']),
    "a member of damaged JSON": ('{"a":1,,"client_secret": "AAAA', ["AAAA"]),
    "the userinfo of a URL": ("see https://u:AAAA@host/x", ["u:AAAA"]),
    "a cookie in a text": ("Set-Cookie: a=AAAA; Path=/\nx", ["a=AAAA; Path=/"]),
    "a cookie in a command": ("curl -H 'Cookie: a=AAAA' h", ["a=AAAA"]),
    "a session in a text": ("see Mcp-Session-Id: AAAA there", ["AAAA"]),
    "a bearer in a text": ("with Bearer abcd-1234-ef.", ["abcd-1234-ef."]),
    "a password of a command": ("curl -u me:AAAA https://h/", ["AAAA"]),
    "a code in a text that looks like one": ("code=4-0AfJohXmQ2vB7cN", ["4-0AfJohXmQ2vB7cN"]),
    "a member that may be a key": ('{"key": "4-0AfJohXmQ2vB7cN"}', ["4-0AfJohXmQ2vB7cN"]),
    "JSON in percent": ("see %7B%22token%22%3A%22AA%22%7D x", ["%7B%22token%22%3A%22AA%22%7D"]),
}
NOT_FOUND = {
    "an ordinary parameter": "/x?page=2&q=password",
    "an ordinary member": '{"passwords": 3, "name": "token"}',
    "a code outside of a query": "exit code=1",
    "a count": "max_tokens=300",
    "an address with an at sign": "mail me@example.com about https://example.com/@me",
    "words after a scheme": "basic authentication, bearer certificates and token expired",
    "a placeholder": "the key was [aws-access-key:1] and [generic-token:2:base64]",
    "a state that is a word": '{"state": "input-required", "key": "user_name"}',
    "a sensitive name with a number": '{"password": 5, "a": "b"}',
}


@pytest.mark.parametrize(("text", "values"), FOUND.values(), ids=FOUND)
def test_it_is_found(text: str, values: list[str]) -> None:
    assert [text[start:end] for start, end in secret_values(text)] == values


@pytest.mark.parametrize("text", NOT_FOUND.values(), ids=NOT_FOUND)
def test_it_stays(text: str) -> None:
    assert secret_values(text) == []


@given(st.text(alphabet='ab=&?"\\:{}, token/@%', max_size=80), st.booleans())
def test_spans_are_ordered_disjoint_and_inside(text: str, form: bool) -> None:
    spans = secret_values(text, form=form)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(text) for start, end in spans)


def test_form_values_are_found_with_their_decoded_names() -> None:
    text = "a=1&%62=two+2&c&d="
    assert [(name, text[start:end]) for name, start, end in form_values(text)] == [
        ("a", "1"),
        ("b", "two+2"),
    ]


@pytest.mark.parametrize(
    "name",
    ["requestState", "taskId", "nextCursor", "cursor", "sessionId", "session_id", "access_token",
     "io.modelcontextprotocol/subscriptionId", "X-Api-Key", "clientSecret", "code_verifier",
     "AWS_SECRET_ACCESS_KEY", "id-token"],
)  # fmt: skip
def test_wire_names_are_sensitive(name: str) -> None:
    assert is_sensitive(name)
