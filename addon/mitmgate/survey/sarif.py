"""The report of a look as SARIF 2.1.0, for the places where findings of other tools are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mitmgate import __version__
from mitmgate.record.lines import printable
from mitmgate.scan.finding import Severity
from mitmgate.survey.judged import Spot
from mitmgate.survey.look import Survey

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Mapping[Severity, str] = {
    "low": "note",
    "medium": "warning",
    "high": "error",
    "critical": "error",
}
# What GitHub sorts by, on CVSS's scale.
_SCORES: Mapping[Severity, str] = {"low": "3.0", "medium": "5.5", "high": "8.0", "critical": "9.5"}
_PRINT = "mitmgateFinding/v1"


def sarif_report(survey: Survey, spots: Sequence[Spot]) -> str:
    """Return the SARIF log of one run."""
    rules = list(dict.fromkeys(spot.rule for spot in spots))
    places = {rule: number for number, rule in enumerate(rules)}
    first = {spot.rule: spot for spot in reversed(spots)}
    run = {
        "tool": {
            "driver": {
                "name": "mitmgate",
                "version": __version__,
                "rules": [_rule(first[rule]) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(survey)],
        "results": [_result(survey, spot, places[spot.rule]) for spot in spots],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(spot: Spot) -> dict[str, Any]:
    return {
        "id": spot.rule,
        "shortDescription": {"text": spot.title},
        "defaultConfiguration": {"level": LEVELS[spot.severity]},
        "properties": {
            "tags": ["security", spot.detector],
            "security-severity": _SCORES[spot.severity],
        },
    }


def _result(survey: Survey, spot: Spot, index: int) -> dict[str, Any]:
    whose = printable(f"{spot.kind} {spot.name}".rstrip())
    logical = {
        "name": printable(spot.name or spot.kind),
        "fullyQualifiedName": f"{spot.method}#{spot.page}{spot.pointer}",
        "kind": spot.kind,
    }
    location: dict[str, Any] = {"logicalLocations": [logical]}
    if "://" in survey.place:
        uri = quote(survey.place, safe=":/?#[]@!$&'()*+,;=%~-._")
        location["physicalLocation"] = {"artifactLocation": {"uri": uri}}
    return {
        "ruleId": spot.rule,
        "ruleIndex": index,
        "level": LEVELS[spot.severity],
        "message": {"text": f"{spot.title}, in {whose}"},
        "locations": [location],
        "partialFingerprints": {_PRINT: spot.print},
        "properties": {
            "severity": spot.severity,
            "start": spot.start,
            "end": spot.end,
            "view": spot.view,
        },
    }


def _invocation(survey: Survey) -> dict[str, Any]:
    """Return whether all was seen: a run that was cut short says nothing by its silence."""
    return {
        "executionSuccessful": not survey.gaps,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": printable(gap)}} for gap in survey.gaps
        ],
    }
