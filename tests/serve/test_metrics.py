"""Metrics over real HTTP on the control socket: reloads, decisions, holds, nothing of a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import call
from piping import Capture, Rig, first_pending, make_rig, until

from mitmgate.control.models import State
from mitmgate.judge.judge import Judge
from mitmgate.policy.source import PolicySource
from mitmgate.record.outage import Outage
from mitmgate.scan.engine import Scanner
from mitmgate.serve import reload
from mitmgate.serve.api import ControlApi
from mitmgate.serve.books import Books
from mitmgate.serve.control import ControlServer
from mitmgate.serve.health import captured_by
from mitmgate.serve.metrics import CONTENT_TYPE, Metric, exposition
from mitmgate.serve.reload import Reloader

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
KEY = "an-operator-key-of-these-tests"
HEAD = 'version: 1\nservers: {files: {url: "https://files.example/mcp"}}\n'
RULES = "rules: [{id: reads, tool: get_*, then: allow}, {id: no-rm, tool: rm, then: deny}]"
ASKS = f"{HEAD}mcp: {{{RULES}, otherwise: ask}}\n"
DENIES = f"{HEAD}mcp: {{{RULES}, otherwise: deny}}\n"
ALLOWS = f"{HEAD}mcp: {{{RULES}, otherwise: allow}}\n"
BROKEN = f"{HEAD}mcp: {{otherwise: maybe}}\n"

type Series = dict[str, int]
"""Values by name and labels, as the text spells both."""


@dataclass
class Gate:
    """A control API with a policy file of its own, and a client without a key."""

    rig: Rig
    reloader: Reloader
    policy: Path
    client: httpx.AsyncClient

    def write(self, text: str) -> None:
        fresh = self.policy.with_name("fresh")
        fresh.write_text(text)
        fresh.replace(self.policy)

    async def reload(self, text: str) -> str:
        """Write *text* and ask for a reload; return its result."""
        self.write(text)
        result: str = (await self.client.post("/v1/policy/reload")).json()["result"]
        return result

    async def text(self) -> str:
        answer = await self.client.get("/v1/metrics")
        assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        return answer.text

    async def series(self) -> Series:
        return {
            spelled(metric.name, labels): value
            for metric in parsed(await self.text())
            for labels, value in metric.samples
        }


@asynccontextmanager
async def serving(
    folder: Path, *, reloads: bool = True, capture: Capture | None = None
) -> AsyncIterator[Gate]:
    path = folder / "policy.yaml"
    path.write_text(ASKS)
    source = PolicySource(path)
    read, stamp = source.read()
    books = Books(folder)
    stamp = (*stamp, *books.stamp())
    scanner = Scanner(books.of(read.policy), hash_key=b"k")
    rig = make_rig(judge=Judge(read.policy, scanner), capture=capture)
    pipeline = rig.pipeline
    reloader = Reloader(
        pipeline.judge, books, source, rig.audit, rig.log.append, stamp=stamp, _read=read
    )

    def state() -> State:
        raise AssertionError("metrics need no state of the console")

    api = ControlApi(pipeline, state, KEY, reloader if reloads else None)
    socket = folder / "control.sock"
    server = ControlServer(api.app(), socket)
    await server.start()
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
        yield Gate(rig, reloader, path, client)
    pipeline.close()
    await server.stop()


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    async with serving(tmp_path) as one:
        yield one


RELOADS = 'mitmgate_policy_reloads_total{result="%s"}'
SUCCESS = "mitmgate_policy_last_reload_success"
WAITING = "mitmgate_policy_waiting"
DECISIONS = 'mitmgate_decisions_total{verdict="%s"}'


def policy_info(gate: Gate) -> str:
    return f'mitmgate_policy_info{{hash="{gate.reloader.judge.policy.hash}"}}'


# --- what they say ----------------------------------------------------------------------------


async def test_at_the_start_everything_is_there_and_nothing_is_counted(gate: Gate) -> None:
    assert await gate.series() == {
        **{DECISIONS % verdict: 0 for verdict in ("allow", "ask", "deny")},
        "mitmgate_pending_holds": 0,
        policy_info(gate): 1,
        **{RELOADS % result: 0 for result in ("applied", "refused", "waiting")},
        SUCCESS: 1,
        WAITING: 0,
    }


async def test_a_broken_file_is_told_until_it_is_repaired(gate: Gate) -> None:
    in_force = policy_info(gate)
    assert await gate.reload(BROKEN) == "refused"
    broken = await gate.series()
    assert (broken[RELOADS % "refused"], broken[SUCCESS], broken[in_force]) == (1, 0, 1)
    assert await gate.reload(DENIES) == "applied"
    repaired = await gate.series()
    assert (repaired[RELOADS % "refused"], repaired[RELOADS % "applied"]) == (1, 1)
    assert repaired[SUCCESS] == 1
    assert in_force not in repaired
    assert repaired[policy_info(gate)] == 1


async def test_a_broken_file_is_told_without_anybody_asking_for_a_reload(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.01)
    async with gate.reloader.watching():
        gate.write(BROKEN)
        await until(lambda: gate.reloader.refused > 0)
        told = await gate.series()
    assert (told[RELOADS % "refused"], told[SUCCESS]) == (1, 0)


async def test_a_file_that_is_gone_is_told(gate: Gate) -> None:
    gate.policy.unlink()
    await gate.client.post("/v1/policy/reload")
    assert (await gate.series())[SUCCESS] == 0


async def test_a_policy_that_loosens_waits_and_is_applied_once_it_is_confirmed(gate: Gate) -> None:
    assert await gate.reload(ALLOWS) == "waiting"
    before = await gate.series()
    assert (before[RELOADS % "waiting"], before[RELOADS % "applied"]) == (1, 0)
    assert (before[WAITING], before[SUCCESS]) == (1, 1)
    assert gate.reloader.waiting is not None
    assert gate.reloader.confirm(gate.reloader.waiting.policy.hash, "me")
    after = await gate.series()
    assert (after[RELOADS % "waiting"], after[RELOADS % "applied"], after[WAITING]) == (1, 1, 0)


async def test_what_did_not_change_is_no_reload(gate: Gate) -> None:
    before = await gate.series()
    assert await gate.reload(ASKS) == "unchanged"
    assert await gate.series() == before


async def test_decisions_are_counted_by_verdict(gate: Gate) -> None:
    for number, tool in enumerate(("get_a", "get_b", "rm", "get_c", "push")):
        await gate.rig.pipeline.decide(call(tool, exchange=f"e{number}"), connection="c")
    found = await gate.series()
    assert [found[DECISIONS % verdict] for verdict in ("allow", "ask", "deny")] == [3, 1, 1]
    assert gate.rig.pipeline.decisions == 5


async def test_a_call_that_waits_is_counted_as_long_as_it_waits(gate: Gate) -> None:
    with gate.rig.pipeline.hub.attached(operator=True):
        task = asyncio.create_task(gate.rig.pipeline.decide(call("push"), connection="c"))
        await first_pending(gate.rig.pipeline)
        assert (await gate.series())["mitmgate_pending_holds"] == 1
        gate.rig.pipeline.waiting.close()
        await task
    assert (await gate.series())["mitmgate_pending_holds"] == 0


async def test_nothing_of_a_call_or_of_the_file_is_told(gate: Gate) -> None:
    await gate.reload(BROKEN)
    with gate.rig.pipeline.hub.attached(operator=True):
        given = call("push_words", {"branch": "argument-words"})
        task = asyncio.create_task(gate.rig.pipeline.decide(given, connection="c"))
        await first_pending(gate.rig.pipeline)
        text = await gate.text()
        gate.rig.pipeline.waiting.close()
        await task
    told = [line for line in text.splitlines() if not line.startswith("#")]
    assert "mitmgate_pending_holds 1" in told
    for one in ("push", "words", "files", "agent", "maybe", ".yaml", KEY):
        assert [line for line in told if one in line] == []


async def test_where_a_policy_is_read_once_nothing_is_said_of_reloads(tmp_path: Path) -> None:
    async with serving(tmp_path, reloads=False) as gate:
        names = {name.partition("{")[0] for name in await gate.series()}
    assert names == {"mitmgate_decisions_total", "mitmgate_pending_holds", "mitmgate_policy_info"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_metrics_are_only_read(gate: Gate, method: str) -> None:
    assert (await gate.client.request(method, "/v1/metrics")).status_code == 405


async def test_the_page_names_every_metric_and_no_other(tmp_path: Path) -> None:
    cells = [line.split("`") for line in PAGE.read_text("utf-8").splitlines()]
    rows = {cell[1] for cell in cells if cell[0] == "| " and cell[1].startswith("mitmgate_")}
    async with serving(tmp_path, capture=Capture()) as gate:
        assert rows == {metric.name for metric in parsed(await gate.text())}


@dataclass
class Troubled(Capture):
    """A capture that is missing something."""

    failure: str | None = None
    dropped: int = 0
    outage: Outage = field(default_factory=lambda: Outage(Path()))


def full_disk(lost: int) -> Troubled:
    outage = Outage(Path())
    outage.lost = lost
    return Troubled(failure="cannot be written: No space left on device", outage=outage)


CAPTURES: dict[str, tuple[Troubled, tuple[int, int, int], str | None]] = {
    "all is well": (Troubled(), (1, 0, 0), None),
    "the disk is full": (
        full_disk(7), (0, 0, 7),
        "cannot be written: No space left on device; 7 lines could not be written"),
    "the queue was full": (
        Troubled(dropped=3), (1, 3, 0), "3 inputs did not fit and were left out"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CAPTURES)
async def test_what_is_missing_in_the_capture_is_told(sentence: str, tmp_path: Path) -> None:
    capture, told, words = CAPTURES[sentence]
    async with serving(tmp_path, capture=capture) as gate:
        found = await gate.series()
    assert tuple(found[f"mitmgate_capture_{name}"] for name in (
        "written", "inputs_dropped_total", "lines_lost_total")) == told  # fmt: skip
    captured = captured_by(capture)
    assert captured is not None
    assert captured.trouble == words


def test_where_nothing_is_captured_nothing_is_told_of_it() -> None:
    assert captured_by(None) is None


# --- the format -------------------------------------------------------------------------------
# https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details, read as
# strictly as it is written.


def spelled(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{pairs}}}" if pairs else name


def unescaped(text: str, known: Mapping[str, str]) -> str:
    chars = iter(text)
    return "".join(known[next(chars)] if char == "\\" else char for char in chars)


def labels_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the labels that *text* spells, from behind the first brace to the last one."""
    while text:
        name, _, rest = text.partition('="')
        assert name.isidentifier(), name
        end = 0
        while rest[end] != '"':
            end += 2 if rest[end] == "\\" else 1
        yield name, unescaped(rest[:end], {"\\": "\\", "n": "\n", '"': '"'})
        text = rest[end + 1 :].removeprefix(",")


def parsed(text: str) -> list[Metric]:
    """Return the metrics that *text* spells."""
    *lines, last = text.split("\n")
    assert last == "", "the last line must end, too"
    found: list[Metric] = []
    for line in lines:
        if line.startswith("# HELP "):
            name, meaning = line.removeprefix("# HELP ").split(" ", 1)
            found.append(Metric(name, "gauge", unescaped(meaning, {"\\": "\\", "n": "\n"}), ()))
            continue
        metric = found.pop()
        if line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert (name, metric.samples) == (metric.name, ())
            assert kind in ("counter", "gauge")
            found.append(Metric(name, kind, metric.meaning, ()))  # type: ignore[arg-type]
            continue
        rest = line.removeprefix(metric.name)
        inside, brace, value = rest.rpartition("}")
        assert (rest[0], bool(brace)) in (("{", True), (" ", False)), line
        sample = (dict(labels_of(inside[1:])), int((value if brace else rest)[1:]))
        found.append(Metric(metric.name, metric.kind, metric.meaning, (*metric.samples, sample)))
    names = [metric.name for metric in found]
    assert len(names) == len(set(names))
    return found


words = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8")) | st.text('\\n"{}= ,\n')
samples = st.tuples(st.dictionaries(words, texts, max_size=3), st.integers())
metrics = st.builds(
    Metric, words, st.sampled_from(["counter", "gauge"]), texts,
    st.lists(samples, max_size=3).map(tuple),
)  # fmt: skip


@given(st.lists(metrics, max_size=3, unique_by=lambda metric: metric.name))
def test_whatever_a_label_holds_it_is_read_as_it_was_written(written: list[Metric]) -> None:
    assert parsed(exposition(written)) == written
