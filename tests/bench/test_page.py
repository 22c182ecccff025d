"""Results become goals that are met or not, and a page; a quick run writes no page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

type Modules = dict[str, ModuleType]


def results(**changes: Any) -> dict[str, Any]:
    def row(size: str, clients: int, ms: float, http: str = "HTTP/1.1") -> dict[str, Any]:
        def leg(factor: float) -> dict[str, float]:
            return {"p50_ms": ms * factor, "p99_ms": ms * factor * 1.5,
                    "per_second": 1000 / factor, "calls": 9}  # fmt: skip

        legs = {"direct": leg(0.1), "stock mitmdump": leg(2.5), "mitmgate, no checks": leg(0.5),
                "mitmgate": leg(1)}  # fmt: skip
        return {"http": http, "clients": clients, "kind": "json", "size": size, "legs": legs}

    return {
        "when": "2026-01-02T03:04:05+00:00", "quick": False,
        "machine": {"cpu": "a chip", "cores": 2, "python": "3.13.0", "mitmproxy": "12.2.3",
                    "openssl": "3.5.0", "commit": "abc1234"},
        "calls": [row("2 KB", 1, 0.5), row("2 KB", 8, 4.0), row("100 KB", 1, 7.5),
                  row("2 KB", 1, 0.9, "HTTP/2")],
        "stages": {"kept connection": {"total_us": 500.0, "process_us": 500.0,
                                       "stages_us": {"TLS": 100.0, "judge": 400.0}}},
        "memory": {"idle": {"mitmgate": 9e7}, "bodies": [],
                   "calls": {"calls": 100_000, "after": [9e7, 9.2e7], "drift": 2_000_000},
                   "connections": [{"leg": "mitmgate", "opened": 1000, "used": False, "refused": "",
                                    "bytes_each": 130_000}]},
        "hostile": [{"what": "a bomb", "p99_ratio": 1.5, "p50_ratio": 1.1, "peak": 3e8, "left": 0,
                     "facts": {"received": 7}}],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("p50 of 2 KB, one client, of stock's", "met"),
        ("p99 of 2 KB, one client, of our own p50", "met"),
        ("calls/s of 2 KB, 8 clients, of stock's", "met"),
        ("p50 of 10 KB over direct, call or result", "not measured"),
        ("p50 of 100 KB over direct, call or result", "met"),
        ("HTTP/2 of HTTP/1.1, p50 of 2 KB, one client", "**not met.** The h2 library"),
        ("memory that 100,000 calls add, after the first tenth", "met"),
        ("each of 1,000 idle TLS connections", "**not met.** mitmproxy's layers"),
        ("p99 of others beside: a bomb", "met"),
        ("memory for it", "**not met.** One event loop"),
    ],
)
def test_a_goal_is_met_or_has_its_reason(bench: Modules, name: str, answer: str) -> None:
    goal = next(one for one in bench["goals"].goals(results()) if one.name == name)
    assert goal.answer.startswith(answer)


def test_the_reason_of_a_slow_call_names_its_largest_stage(bench: Modules) -> None:
    slow = results()
    slow["calls"][0]["legs"]["mitmgate"]["p50_ms"] = 3.0
    goal = bench["goals"].goals(slow)[0]
    assert "The largest stage is judge, 80% of a call" in goal.answer


def test_the_page_has_every_part_and_its_tables_are_whole(bench: Modules) -> None:
    text = bench["page"].page(results())
    for title in ("## Goals", "### HTTP/2", "## Where the time goes", "## Memory",
                  "## Hostile clients", "## On your own machine", "## The fast path"):  # fmt: skip
        assert title in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert tables
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert "| 0.40 | 2.50 |" in text  # of stock: time and rate, first


def test_without_results_the_page_says_how_to_get_them(bench: Modules) -> None:
    assert "No results yet: run `make bench`." in bench["page"].page({})


@pytest.fixture
def runner(bench: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    run = bench["run"]
    whole = results()

    def part(name: str) -> Callable[..., Any]:
        return lambda **_: whole[name]

    parts = {name: part(name) for name in ("calls", "stages", "memory", "hostile")}
    monkeypatch.setattr(run, "PARTS", parts)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(run, "_many_files", lambda: None)
    return run


def test_a_quick_run_is_marked_and_writes_no_page(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--quick"])
    runner.main()
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["quick.json"]
    assert json.loads((tmp_path / "results" / "quick.json").read_text())["quick"] is True
    assert not (tmp_path / "performance.md").exists()


def test_a_part_alone_keeps_the_others_from_the_newest_file_that_is_not_quick(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "2020-01-01T000000-old.json").write_text(json.dumps(results(calls=[])))
    (folder / "quick.json").write_text(json.dumps(results(hostile=[])))
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "calls"])
    runner.main()
    newest = runner.newest(folder)
    assert (len(newest["calls"]), len(newest["hostile"])) == (4, 1)
    assert "## Hostile clients" in (tmp_path / "performance.md").read_text()
