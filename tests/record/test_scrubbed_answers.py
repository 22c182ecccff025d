"""What an operator's answer covers is written without tokens: in audit lines and in captures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from captures import POLICY, STARTED, call

from mitmgate.hold.grants import Scope, Told
from mitmgate.judge.inputs import EndInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.record.scrub import scrub
from mitmgate.scan.engine import Scanner

TOKEN = "hvAp0mZ1Jq7rTn5uWx3y" + "Lk9sQe2Bd8Gf4"
PLAIN = "quarterly-report"


@pytest.mark.parametrize("key", ["covers", "prefix", "endpoint", "tool", "url", "detail"])
def test_a_token_in_what_an_answer_covers_is_not_in_the_audit_line(
    scanner: Scanner, key: str
) -> None:
    told = {key: f"https://files.example/x/{TOKEN}/y", "verdict": "allow"}
    records: list[dict[str, object]] = [
        {"type": "grant", **told},
        {"type": "grant", "answer": told},
    ]
    for record in records:
        assert TOKEN not in json.dumps(scrub(record, scanner))
        plain = json.loads(json.dumps(record).replace(TOKEN, PLAIN))
        assert scrub(plain, scanner) == plain  # the control


@pytest.mark.parametrize("prefix", [f"/x/{TOKEN}/", f"/x/{PLAIN}/"], ids=["a token", "a name"])
def test_a_token_in_the_folder_of_an_answer_is_not_in_the_capture(
    tmp_path: Path, scanner: Scanner, prefix: str
) -> None:
    judge = Judge(load_policy(POLICY, file="p.yaml"), scanner)
    made = open_recording(tmp_path, scanner=scanner, run=Run(judge.policy.hash, judge.mode),
                          clock=lambda: STARTED)  # fmt: skip
    asked = call("a-1", "other", {})
    outcome = judge.conclude(judge.prepare(asked), now=STARTED)
    assert outcome is not None
    assert made.input(asked, now=STARTED)
    assert made.outcome(outcome)
    assert made.grant(outcome, Told("allow", Scope("prefix", prefix=prefix), 60))
    assert made.input(EndInput("a-1"), now=STARTED)
    made.close()
    (grant,) = (line for line in map(json.loads, made.path.read_text().splitlines())
                if line["type"] == "grant")  # fmt: skip
    assert TOKEN not in made.path.read_text()
    assert grant["on"] == "prefix"
    assert (grant["prefix"] == prefix) is (PLAIN in prefix)
