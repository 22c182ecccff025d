"""What requests carry beside their body: names, parts of a multipart body, tags of their host."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from judging import KEY, decide, make_judge, request, with_scan

from mitmgate.judge.egress import ENCODED_NAME
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.records import outcome_record
from mitmgate.wire.http import Headers

WILD = ("egress:\n  rules:\n", "egress:\n  rules:\n"
        '    - {id: wild, host: ["*.wild.example", dns.google], then: allow}\n')  # fmt: skip
FORM: Headers = (("content-type", "multipart/form-data; boundary=b"),)
HEX = KEY.encode().hex()
BASE32 = base64.b32encode(f"key={KEY}".encode()).decode().rstrip("=").lower()


def cut(text: str, size: int) -> str:
    return ".".join(text[start : start + size] for start in range(0, len(text), size))


def get(host: str, target: str = "/") -> Outcome:
    return decide(make_judge(WILD), request("GET", host, target, headers=()))


NAMES: dict[str, str] = {
    "hex in one label": f"{HEX}.wild.example",
    "hex in labels of eight": f"{cut(HEX, 8)}.wild.example",
    "hex in labels of a few letters": f"{cut(HEX, 3)}.wild.example",
    "base32 in labels": f"{cut(BASE32, 16)}.wild.example",
}


@pytest.mark.parametrize("host", NAMES.values(), ids=NAMES)
def test_a_secret_in_the_labels_of_a_host(host: str) -> None:
    outcome = get(host)
    assert (outcome.verdict.word, outcome.rule, outcome.code) == (
        "deny", "scan.secrets", "finding")  # fmt: skip
    assert "#host" in [finding.pointer for finding in outcome.findings]


@pytest.mark.parametrize("host", NAMES.values(), ids=NAMES)
def test_such_a_host_is_written_nowhere(host: str) -> None:
    judge = make_judge(WILD)
    outcome = decide(judge, request("GET", host, "/", headers=()))
    reply = judge.reply(outcome, "no")
    assert outcome.subject.host == "[redacted].wild.example"
    assert host not in f"{outcome} {reply}"
    assert HEX not in f"{outcome} {reply}".replace(".", "")


HIDDEN = f"{HEX[:20]}.{HEX[20:]}.wild.example"
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
JSON: Headers = (("content-type", "application/json"),)
STOPPED: dict[str, tuple[RequestInput, str]] = {
    "a multipart body that cannot be taken apart": (
        request("POST", HIDDEN, f"/{KEY}", b"zz", FORM), "malformed_multipart"),
    "an encoding that cannot be undone": (
        request("POST", HIDDEN, f"/{KEY}", b"zz", (("content-encoding", "gzip"),)),
        "bad_encoding"),
    "a head with two readings": (
        request("POST", HIDDEN, f"/{KEY}", b"", (("host", "a"), ("host", "b"))),
        "malformed_request"),
    "a head with a header that is none": (
        request("POST", HIDDEN, f"/{KEY}", b"", ((f"a {KEY}", KEY),)), "malformed_request"),
    "an upgrade": (
        request("GET", HIDDEN, f"/{KEY}", headers=(("upgrade", "h2c"),)), "upgrade_refused"),
    "a message of MCP": (request("POST", HIDDEN, f"/{KEY}", CALL, JSON), "unknown_server"),
    "a message that could be MCP": (
        request("POST", HIDDEN, f"/{KEY}", CALL + b"}", JSON), "ambiguous_message"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "code"), STOPPED.values(), ids=STOPPED)
def test_nor_is_the_host_of(given: RequestInput, code: str) -> None:
    judge = make_judge(WILD)
    outcome = decide(judge, given)
    subject, written = outcome.subject, f"{outcome_record(outcome, time=0)}"
    assert outcome.code == code
    assert (subject.host, subject.endpoint) == (
        "[redacted].wild.example", "https://[redacted].wild.example/[redacted]")  # fmt: skip
    assert {"#url", "#host"} <= {finding.pointer for finding in outcome.findings}
    for secret in (HEX[:20], HEX[20:], KEY):
        assert secret not in f"{written} {judge.reply(outcome, 'no')}"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data"])
def test_what_cannot_be_read_at_a_named_server_is_recorded_without_its_login(kind: str) -> None:
    token = "ghp_" + "x7Kq2mVb9ZtR4wLn8YcD1sFg5HjP3aE0uMi6"
    headers = (("content-type", kind), ("authorization", f"Bearer {token}"), ("x-note", KEY))
    outcome = decide(make_judge(), request("POST", body=b"zz", headers=headers))
    assert (outcome.verdict.word, outcome.subject.server) == ("deny", "files")
    assert [finding.pointer for finding in outcome.findings] == ["#header/x-note"]


def test_other_names_pass() -> None:
    for host in ("a.wild.example", "assets-cdn-europe-west3.static.wild.example"):
        outcome = get(host)
        assert (outcome.verdict.word, outcome.subject.tags) == ("allow", ())


def test_data_in_a_name_is_tagged_and_decides_nothing() -> None:
    data = base64.b32encode(bytes(range(100, 160))).decode().rstrip("=").lower()
    outcome = get(f"{data[:50]}.wild.example")
    assert (outcome.verdict.word, outcome.subject.tags) == ("allow", (ENCODED_NAME,))
    assert get("docs.example", f"/{data}").subject.tags == (ENCODED_NAME,)


def test_what_a_host_is_for_stands_in_its_tags() -> None:
    outcome = get("dns.google")
    assert "doh" in outcome.subject.tags
    assert (outcome.verdict.word, outcome.code) == ("deny", "dns_over_https")


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


NOTE = b'Content-Disposition: form-data; name="note"\r\n'
CODED = base64.encodebytes(f"the key is {KEY}".encode())
PICTURE = b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n" + bytes(range(256))

LEAKS: dict[str, bytes] = {
    "as it is": form(NOTE + b"\r\n" + KEY.encode()),
    "beside a picture": form(PICTURE, NOTE + b"\r\n" + KEY.encode()),
    "in the name of a field beside a picture": form(
        PICTURE, b'Content-Disposition: form-data; name="' + KEY.encode() + b'"\r\n\r\nx'),
    "in base64": form(NOTE + b"Content-Transfer-Encoding: base64\r\n\r\n" + CODED),
    "in quoted-printable": form(
        NOTE + b"Content-Transfer-Encoding: quoted-printable\r\n\r\nkey "
        + b"".join(b"=%02X" % byte for byte in KEY.encode())),
    "in UTF-16": form(
        PICTURE, b"Content-Type: text/plain; charset=utf-16le\r\n\r\n" + KEY.encode("utf-16-le")),
    "in gzip": form(b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(CODED)),
    "in JSON": form(PICTURE, b"Content-Type: application/json\r\n\r\n"
                    + json.dumps({"a": [KEY]}).encode()),
    "in a part of a part": form(
        b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(KEY.encode()) + b"\r\n--c--"),
    "before the first part": KEY.encode() + b"\r\n" + form(PICTURE),
    "after the last part": form(PICTURE) + KEY.encode(),
    "in bytes that are no text": form(
        b"Content-Type: application/octet-stream\r\n\r\n\xff\xfe\x00 " + KEY.encode() + b" \xff"),
}  # fmt: skip


def upload(body: bytes, headers: Headers = FORM) -> RequestInput:
    return request("POST", "docs.example", "/upload", body, headers)


@pytest.mark.parametrize("body", LEAKS.values(), ids=LEAKS)
def test_a_secret_in_a_multipart_body(body: bytes) -> None:
    outcome = decide(make_judge(), upload(body))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == (
        "deny", "scan.secrets", "finding")  # fmt: skip


@pytest.mark.parametrize("body", [form(PICTURE), form(NOTE + b"\r\nhello", PICTURE)])
def test_an_upload_without_one_passes(body: bytes) -> None:
    assert decide(make_judge(), upload(body)).verdict.word == "allow"


def test_a_secret_in_a_text_part_can_be_cut_out() -> None:
    judge = make_judge(with_scan("{secrets: {egress_request: redact}}"))
    prepared = judge.prepare(upload(form(NOTE + b"\r\n" + KEY.encode())))
    outcome = judge.conclude(prepared, now=0)
    assert outcome is not None
    edited = judge.edited(outcome, prepared)
    assert outcome.verdict.word == "allow"
    assert edited is not None
    assert KEY not in edited


def test_a_secret_in_an_encoded_part_cannot_so_it_is_denied() -> None:
    judge = make_judge(with_scan("{secrets: {egress_request: redact}}"))
    body = form(NOTE + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(KEY.encode()))
    assert decide(judge, upload(body)).verdict.word == "deny"


def test_a_multipart_body_that_cannot_be_taken_apart_is_denied() -> None:
    outcome = decide(make_judge(), upload(form(PICTURE), (("content-type", "multipart/mixed"),)))
    assert (outcome.verdict.word, outcome.code) == ("deny", "malformed_multipart")
    assert "boundary" in outcome.reason


def test_no_body_needs_no_boundary() -> None:
    given = upload(b"", (("content-type", "multipart/mixed"),))
    assert decide(make_judge(), given).verdict.word == "allow"


NUMBERS = b" 2001:db8:85a3:8d3:1319:8a2e:370:7348 "
BINARY: dict[str, tuple[bytes, bool]] = {
    "a text": (NUMBERS, True),
    "a text with a byte that is none": (b"caf\xe9 caf\xe9 says more than one" + NUMBERS, True),
    "an archive": (b"\x9f\xff\x80\xfe" * 40 + NUMBERS + b"\x9f\xff\x80\xfe" * 40, False),
}


@pytest.mark.parametrize(("body", "found"), BINARY.values(), ids=BINARY)
def test_personal_data_is_looked_for_in_texts(body: bytes, *, found: bool) -> None:
    headers: Headers = (("content-type", "application/octet-stream"),)
    outcome = decide(make_judge(WILD), request("POST", "a.wild.example", "/", body, headers))
    assert ("pii" in [finding.detector for finding in outcome.findings]) is found
    secret = decide(
        make_judge(WILD), request("POST", "a.wild.example", "/", body + KEY.encode(), headers)
    )
    assert "secrets" in [finding.detector for finding in secret.findings]
