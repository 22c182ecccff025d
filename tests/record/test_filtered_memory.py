"""What a filtered capture does not keep is forgotten, also where an answer can still come."""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import POLICY, STARTED, call

from mitmgate.judge.choosing import Keep, parse_choice
from mitmgate.judge.inputs import EndInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.scan.engine import Scanner

COUNT = 20


@pytest.mark.parametrize(("words", "kept"), [("tool:nothing", False), ("tool:other", True)],
                         ids=["nothing is wanted", "the control: all of it is"])  # fmt: skip
def test_questions_that_nobody_wants_hold_no_bodies(
    tmp_path: Path, scanner: Scanner, words: str, *, kept: bool
) -> None:
    judge = Judge(load_policy(POLICY, file="p.yaml"), scanner)
    keep = Keep(parse_choice((words,)))
    made = open_recording(tmp_path, scanner=scanner, run=Run(judge.policy.hash, judge.mode),
                          clock=lambda: STARTED, keep=keep)  # fmt: skip
    for number in range(COUNT):
        asked = call(f"a-{number}", "other", {"text": "word " * 50})
        outcome = judge.conclude(judge.prepare(asked), now=STARTED)
        assert outcome is not None
        assert outcome.verdict.word == "ask"
        assert made.input(asked, now=STARTED)
        assert made.outcome(outcome)
        assert made.input(EndInput(asked.exchange), now=STARTED)
    made.close()
    assert made.failure is None
    assert made.path.exists() is kept
    assert len(made._late) == COUNT
    assert not any(exchange.pending for exchange in made._late.values())
