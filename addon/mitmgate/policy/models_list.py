"""The hosts where model APIs are: what an agent sends there is its model's input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy.fields import HostPattern
from mitmgate.strictyaml import load_model

_FILE = "model_apis.yaml"


class _ApiEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1)]
    host: HostPattern


class _ApiFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    apis: tuple[_ApiEntry, ...]


@dataclass(frozen=True, slots=True)
class ModelApi:
    """A model API: the name people know it by, and its host pattern."""

    name: str
    host: str


@cache
def model_apis() -> tuple[ModelApi, ...]:
    """Return the known model APIs, in the order of the list."""
    text = resources.files("mitmgate_rules").joinpath(_FILE).read_text("utf-8")
    entries = load_model(_ApiFile, text, file=_FILE).apis
    return tuple(ModelApi(entry.name, entry.host) for entry in entries)


@cache
def _hosts() -> DomainSet:
    return DomainSet.of(parse_domain_pattern(api.host) for api in model_apis())


def is_model_api(host: str) -> bool:
    """Say whether the normalised *host* is that of a model API."""
    return _hosts().matches(host)
