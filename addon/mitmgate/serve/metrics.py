"""Metrics of a running proxy in Prometheus' text format (version 0.0.4), made when they are read.

Labels come from small fixed sets and the policy's hash; nothing of a call stands here.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.serve.health import Captured, captured_by
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.reload import Reloader

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

type Sample = tuple[Mapping[str, str], int]
"""Labels and their values, and the value of the sample."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its samples; ``name`` and labels are names as the format wants them."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    samples: tuple[Sample, ...]


class MetricsApi:
    """The handler of ``GET /v1/metrics``; *reloader* is None where a policy is read once."""

    def __init__(self, pipeline: Pipeline, reloader: Reloader | None) -> None:
        self._pipeline = pipeline
        self._reloader = reloader

    async def show(self, _: Request) -> Response:
        """Answer with every metric as it is now. Needs no key: no argument is shown."""
        text = exposition(self._metrics())
        return Response(text.encode(), headers={"content-type": CONTENT_TYPE})

    def _metrics(self) -> Iterator[Metric]:
        yield from _gate(self._pipeline)
        if self._reloader is not None:
            yield from _reloads(self._reloader)
        captured = captured_by(self._pipeline._capture)
        if captured is not None:
            yield from _captures(captured)


def _gate(pipeline: Pipeline) -> Iterator[Metric]:
    yield Metric(
        "mitmgate_decisions_total", "counter",
        "Decisions by verdict; in shadow mode what rules said, not what was done.",
        tuple(({"verdict": verdict.word}, n) for verdict, n in pipeline.verdicts.items()),
    )  # fmt: skip
    yield _gauge("mitmgate_pending_holds", "Calls that wait for a person.", len(pipeline.pending))
    yield _gauge("mitmgate_policy_info", "The policy in force.", 1,
                 hash=pipeline.judge.policy.hash)  # fmt: skip


def _reloads(reloader: Reloader) -> Iterator[Metric]:
    counts = {"applied": reloader.applied, "refused": reloader.refused, "waiting": reloader.waited}
    yield Metric(
        "mitmgate_policy_reloads_total", "counter",
        "Reloads by result; what waits counts as applied too, once it is confirmed.",
        tuple(({"result": result}, n) for result, n in counts.items()),
    )  # fmt: skip
    yield _gauge("mitmgate_policy_last_reload_success",
                 "Whether the files of the policy, as last read, are without mistakes.",
                 reloader.problem is None)  # fmt: skip
    yield _gauge("mitmgate_policy_waiting", "Whether a policy that loosens waits for an operator.",
                 reloader.waiting is not None)  # fmt: skip


def _captures(captured: Captured) -> Iterator[Metric]:
    yield _gauge("mitmgate_capture_written", "Whether what is captured can be written.",
                 captured.failure is None)  # fmt: skip
    yield Metric(
        "mitmgate_capture_inputs_dropped_total", "counter",
        "Inputs that were left out of the capture because its queue was full.",
        (({}, captured.dropped),),
    )  # fmt: skip
    yield Metric(
        "mitmgate_capture_lines_lost_total", "counter",
        "Lines of the capture that could not be written.",
        (({}, captured.lost),),
    )  # fmt: skip


def _gauge(name: str, meaning: str, value: int, **labels: str) -> Metric:
    return Metric(name, "gauge", meaning, ((labels, int(value)),))


def exposition(metrics: Iterable[Metric]) -> str:
    """Return *metrics* as the text that Prometheus reads."""
    return "".join(line + "\n" for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.meaning)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples:
        pairs = ",".join(f'{name}="{_quotable(text)}"' for name, text in labels.items())
        yield f"{metric.name}{{{pairs}}} {value}" if pairs else f"{metric.name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quotable(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
