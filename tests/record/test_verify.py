"""What is left in a capture is found, told by place and rule, and never by its text."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from captures import KEY, record

from mitmgate.errors import ConfigError
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.record.verify import files_in, look_at
from mitmgate.scan.engine import Scanner

PLACED = "hvAp0mZ1Jq7rTn5uWx3yLk9s"
BY_PLACE = "secret-by-place"
AWS = "secret.aws-access-key"


@pytest.fixture
def capture(tmp_path: Path, scanner: Scanner) -> Path:
    return record(tmp_path / "captures", scanner=scanner)


def _planted(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first request of a capture."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[1])
    change(record)
    lines[1] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")
    meta_path(path).unlink()


def test_a_capture_as_it_is_written_has_nothing_left(capture: Path, scanner: Scanner) -> None:
    looked = look_at(files_in(capture.parent), scanner)
    assert (looked.files, looked.found, looked.problems) == (3, [], [])
    assert looked.exit_code == 0


def _body(value: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["body"].update(text=json.dumps({"params": value}))


LEFT: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "a key in an argument": (_body({"q": KEY}), "/body/text#/params/q", AWS),
    "a key in base64": (_body({"q": b64encode(f"x {KEY} x".encode()).decode()}),
                        "/body/text#/params/q", AWS),
    "a key in a query": (lambda r: r["head"].update(target=f"/?q={KEY}"), "/head/target", AWS),
    "a key with percent signs": (
        lambda r: r["head"].update(target="/?q=" + "".join(f"%{ord(c):02X}" for c in KEY)),
        "/head/target", AWS),
    "a bearer in its header": (
        lambda r: r["head"]["headers"].append(["authorization", f"Bearer {PLACED}"]),
        "/head/headers/3/1", BY_PLACE),
    "a session id": (lambda r: r["head"]["headers"].append(["mcp-session-id", PLACED]),
                     "/head/headers/3/1", BY_PLACE),
    "a password in JSON": (_body({"password": PLACED}), "/body/text#/params/password", BY_PLACE),
    "a token in a form": (lambda r: r["body"].update(text=f"access_token={PLACED}"),
                          "/body/text", BY_PLACE),
    "a name and its value": (_body([{"name": "Cookie", "value": PLACED}]),
                             "/body/text#/params/0/value", BY_PLACE),
    "a PIN that is a number": (_body({"pin": 48213377}), "/body/text#/params/pin", BY_PLACE),
    "one in a list": (_body({"otp": [4, 8]}), "/body/text#/params/otp/0", BY_PLACE),
    "one beside a stand-in": (_body({"password": {"a": 10000001, "b": 48213377}}),
                              "/body/text#/params/password/b", BY_PLACE),
    "a number beside its name": (_body([{"name": "API_TOKEN", "value": 48213377}]),
                                 "/body/text#/params/0/value", BY_PLACE),
    "a number in damaged JSON": (lambda r: r["body"].update(text='{"pin": 48213377'),
                                 "/body/text", BY_PLACE),
    "a cursor beside a placeholder": (_body({"cursor": f"[opaque:1]{PLACED}"}),
                                      "/body/text#/params/cursor", BY_PLACE),
}  # fmt: skip


@pytest.mark.parametrize(("change", "pointer", "rule"), LEFT.values(), ids=LEFT)
def test_left(
    capture: Path,
    scanner: Scanner,
    change: Callable[[dict[str, Any]], object],
    pointer: str,
    rule: str,
) -> None:
    _planted(capture, change)
    looked = look_at([capture], scanner)
    assert looked.problems == []
    assert (2, pointer, rule) in [(leak.line, leak.pointer, leak.rule) for leak in looked.found]
    assert looked.exit_code == 1
    told = " ".join(map(str, looked.found))
    assert KEY not in told
    assert PLACED not in told


def test_a_key_in_a_golden_and_in_the_notes_of_a_meta_file(capture: Path, scanner: Scanner) -> None:
    golden, meta = golden_path(capture), meta_path(capture)
    golden.write_text(golden.read_text().replace('"tool":"get"', f'"tool":"{KEY}"', 1))
    meta.write_text(meta.read_text().replace('notes: ""', f'notes: "{KEY}"'))
    looked = look_at([golden, meta], scanner)
    assert [(leak.file, leak.rule) for leak in looked.found] == [(golden, AWS), (meta, AWS)]


def test_a_har_is_looked_through_before_it_is_committed(tmp_path: Path, scanner: Scanner) -> None:
    cookie = {"name": "Cookie", "value": f"a={PLACED}"}
    entry = {"request": {"url": f"https://a.example/?q={quote(KEY)}", "headers": [cookie]}}
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    found = {(leak.pointer, leak.rule) for leak in look_at([tmp_path / "a.har"], scanner).found}
    assert ("/log/entries/0/request/url", AWS) in found
    assert ("/log/entries/0/request/headers/0/value", BY_PLACE) in found


def test_a_key_that_is_a_name_is_not_shown(capture: Path, scanner: Scanner) -> None:
    _planted(capture, _body({KEY: 1}))
    looked = look_at([capture], scanner)
    assert {(leak.pointer, leak.rule) for leak in looked.found} >= {
        ("/body/text#/params/*~key", AWS)
    }
    assert KEY not in " ".join(map(str, looked.found))


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "a torn line": ("a.jsonl", b'{"v":2,"ty'),
    "not UTF-8": ("a.jsonl", b"\xff\n"),
    "an empty capture": ("a.jsonl", b""),
    "another kind of file": ("a.txt", b"hello"),
    "a HAR that is no JSON": ("a.har", b"hello"),
}


@pytest.mark.parametrize(("name", "data"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(tmp_path: Path, scanner: Scanner, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    looked = look_at([tmp_path / name], scanner)
    assert len(looked.problems) == 1
    assert looked.exit_code == 2


def test_a_sum_that_does_not_fit_is_told(capture: Path, scanner: Scanner) -> None:
    golden = golden_path(capture)
    golden.write_text(golden.read_text().replace('"allow"', '"deny"', 1))
    [problem] = look_at([capture, golden], scanner).problems
    assert "edited by hand" in str(problem)


@pytest.mark.parametrize("named", [golden_path, meta_path, lambda capture: capture])
def test_whichever_file_is_named_all_three_are_looked_at(
    capture: Path, scanner: Scanner, named: Callable[[Path], Path]
) -> None:
    assert look_at([named(capture)], scanner).files == 3
    golden = golden_path(capture)
    golden.write_text(golden.read_text().replace('"allow"', '"deny"', 1))
    [problem] = look_at([named(capture)], scanner).problems
    assert "edited by hand" in str(problem)


def test_each_file_is_looked_at_once(capture: Path, scanner: Scanner) -> None:
    three = [capture, golden_path(capture), meta_path(capture)]
    capture.write_text(capture.read_text().replace("[aws-access-key:1]", KEY, 1))
    looked = look_at([*three, Path(capture.parent, ".", capture.name), *reversed(three)], scanner)
    assert looked.files == 3
    assert len(looked.problems) == 1
    assert {leak.line for leak in looked.found} == {2}
    assert len(looked.found) == len(set(looked.found))


def test_a_golden_and_a_meta_file_without_their_capture_are_still_compared(
    capture: Path, scanner: Scanner
) -> None:
    capture.unlink()
    golden = golden_path(capture)
    golden.write_text(golden.read_text().replace('"allow"', '"deny"', 1))
    looked = look_at([meta_path(capture)], scanner)
    assert looked.files == 2
    assert len(looked.problems) == 1


OWN: dict[str, Callable[[dict[str, Any]], object]] = {
    "a placeholder in a query": (
        lambda r: r["head"].update(target="/cb?access_token=[generic-token:1]&sid=[opaque:2]")),
    "a placeholder in a text": _body({"text": "sid=[session-cookie:1]; path=/"}),
    "names in strings of a document": _body(
        {"text": "Set-Cookie: [opaque:1]\nlocation: /cb?code=[opaque:2]"}),
    "what a client numbers its call with": _body(
        {"_meta": {"progressToken": "3f2b8c1e-9d47-4e6a-8b5c-0a1d2e3f4b5c"}}),
    "our words for a missing token": (
        lambda r: r.update(shown={"problem": "the client showed no name and token; put NAME:TOKEN@ "
                                  "before the host in the URL of the proxy"})),
}  # fmt: skip


@pytest.mark.parametrize("change", OWN.values(), ids=OWN)
def test_what_we_write_ourselves_is_no_secret(
    change: Callable[[dict[str, Any]], object], capture: Path, scanner: Scanner
) -> None:
    _planted(capture, change)
    assert look_at([capture], scanner).found == []


def test_a_golden_file_that_is_gone_is_missed(capture: Path, scanner: Scanner) -> None:
    golden_path(capture).unlink()
    looked = look_at([capture], scanner)
    assert looked.exit_code == 2
    assert "is missing, and the meta file has its sum" in str(looked.problems[0])


def test_a_path_that_leads_nowhere_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        files_in(tmp_path / "nowhere")
