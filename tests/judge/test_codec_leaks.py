"""No file holds a secret, of whatever kind and in whatever place of the traffic it stood."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import scanner
from leaks import HOST, exchanges, left
from piping import Audit

from mitmgate.judge.codec import encode_input
from mitmgate.judge.inputs import Input
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.record.redact import Redactor
from mitmgate.serve.pipeline import Pipeline

POLICY = load_policy(
    f"""version: 1
servers: {{files: {{url: "https://{HOST}/mcp/**"}}}}
mcp: {{otherwise: allow}}
egress: {{rules: [{{id: docs, host: docs.example, methods: [POST], then: allow}}]}}
scan: {{secrets: {{arguments: redact, results: redact}}}}
""",
    file="p.yaml",
)
RANDOM = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
_SHORTEST = 10
WORDS = "sesame-0123456789-by-place"
# Kinds that no rule knows: the text to plant, and what of it must be in no file.
UNKNOWN: dict[str, tuple[str, str]] = {
    "an opaque bearer": (RANDOM, RANDOM),
    "a bearer with its scheme": (f"Bearer {WORDS}", WORDS),
    "a token of RFC 9449": (f"DPoP {WORDS}", WORDS),
    "a cookie": (f"Set-Cookie: sid={WORDS}; Path=/", WORDS),
    "a session": (f"Mcp-Session-Id: {WORDS}", WORDS),
    "a code of OAuth": ("/cb?code=4-0AfJohXmQ2vB7cN9dKpLrTz1&state=xcoiv98CoolsKx2wq",
                        "0AfJohXmQ2vB7cN9dKpLrTz1"),
    "a state of OAuth": (f"/cb?code=abcdef0123456789&state={WORDS}", WORDS),
    "a password of a command": (f"curl -u me:{WORDS} https://h/", WORDS),
    "a member of JSON": (f'{{"password": "{WORDS}"}}', WORDS),
    "a digest": ("3f786850e387550fdab836ed7e6dc881de23001b",) * 2,
    "a bearer in percent signs": ("".join(f"%{ord(char):02X}" for char in RANDOM), RANDOM),
    "a bearer in escapes": ("".join(f"\\u{ord(char):04x}" for char in RANDOM), RANDOM),
    "a bearer in hex": (RANDOM.encode().hex(), RANDOM),
    "a password quoted twice": (quote(quote(f"password={WORDS}", safe="")), WORDS),
    "a PIN that is a number": ('{"a": 1, "otp": [48213377, 2]}', "48213377"),
    "a PIN in JSON in JSON": (json.dumps({"a": json.dumps({"pin": 48213377})}), "48213377"),
}  # fmt: skip


def _written(folder: Path, inputs: Iterator[Input]) -> list[str]:
    """Judge *inputs* as the proxy does, and return all that came to be written of it."""
    rules = scanner()
    judge, audit, log = Judge(POLICY, rules), Audit(), list[str]()
    recording = open_recording(
        folder, scanner=rules, run=Run(POLICY.hash, judge.mode), clock=lambda: 0.0
    )

    async def run() -> None:
        pipeline = Pipeline(judge, audit, capture=recording, log=log.append)
        for one in inputs:
            await pipeline.judged(one)
        log.extend(row.model_dump_json() for row in pipeline.hub.rows)
        pipeline.close()

    asyncio.run(run())
    recording.close()
    assert recording.failure is None
    files = sorted(folder.iterdir())
    assert len(files) == 3
    return [*(file.read_text() for file in files), json.dumps(audit.records), *log]


def _numbered(secret: str) -> Iterator[tuple[str, list[Input]]]:
    for number, (place, inputs) in enumerate(exchanges(secret)):
        yield place, [replace(one, exchange=f"a-{number}") for one in inputs]


@pytest.mark.parametrize(("planted", "value"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_no_rule_knows_is_written_nowhere(tmp_path: Path, planted: str, value: str) -> None:
    places = dict(_numbered(planted))
    texts = _written(tmp_path, (one for inputs in places.values() for one in inputs))
    assert left(texts, [value]) == []
    kept = sum('"body":{"text"' in line for text in texts for line in text.splitlines())
    assert kept > len(places) // 2  # not by writing nothing


def _samples() -> list[tuple[str, str]]:
    """Return a text that each rule finds something in, and what that is."""
    rules = [rule for rule in scanner().rules.values() if rule.detector == "secrets" and rule.match]
    found = [(rule.match[0], scanner().sample_for(rule.id, 1)) for rule in rules]
    return [(text, value) for text, value in found if len(value) >= _SHORTEST]


def _planted(every: int) -> Iterator[tuple[list[Input], str]]:
    """Yield every so manieth sample in one place after the other."""
    places = len(list(exchanges("")))
    for number, (text, value) in enumerate(_samples()[::every]):
        _, inputs = next(islice(exchanges(text), number % places, None))
        yield [replace(one, exchange=f"a-{number}") for one in inputs], value


def test_no_sample_of_a_rule_is_written(tmp_path: Path) -> None:
    planted = list(_planted(every=8))
    texts = _written(tmp_path, (one for inputs, _ in planted for one in inputs))
    assert left(texts, [value for _, value in planted]) == []


SAMPLES = _samples()
PLACES = tuple(dict(exchanges("")))


@settings(max_examples=25)
@given(st.sampled_from(SAMPLES), st.sampled_from(PLACES))
def test_no_sample_is_written_in_any_place(sample: tuple[str, str], place: str) -> None:
    text, value = sample
    redactor = Redactor(scanner(), key=b"r" * 32)
    for given_input in dict(exchanges(text))[place]:
        record = encode_input(given_input, redactor)
        line = json.dumps(record)
        if redactor.vouched or redactor.clean(line):
            assert left([line], [value]) == []
