"""Rule packs as pydantic models: every key of their files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mitmgate.scan.finding import Severity
from mitmgate.wire.surfaces import Surface

DEFAULT_REACH = 256


def _join_parts(value: object) -> object:
    # Samples come in parts so that no complete credential shape stands in any file.
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    return value


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _surfaces(value: object) -> object:
    if isinstance(value, list) and all(item in _SURFACE_NAMES for item in value):
        return tuple(Surface(item) for item in value)
    return value


_SURFACE_NAMES = frozenset(surface.value for surface in Surface)

type Sample = Annotated[str, BeforeValidator(_join_parts), Field(min_length=1)]
type Samples = Annotated[tuple[Sample, ...], BeforeValidator(_tuple)]
type Keyword = Annotated[str, Field(min_length=2)]
type Keywords = Annotated[tuple[Keyword, ...], BeforeValidator(_tuple)]
type Kind = Literal["digit", "letter", "lower", "upper", "special"]
type PackKind = Literal["secrets", "injection", "poisoning", "pii"]


class RuleModel(BaseModel):
    """One rule as its file spells it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str
    title: str
    severity: Severity
    provider: Annotated[str, Field(min_length=1)] | None = None
    pattern: str | None = None
    value: str | None = None
    keywords: Keywords = ()
    runs: Annotated[
        tuple[Literal["digits", "base58", "dotted", "wif"], ...], BeforeValidator(_tuple)
    ] = ()
    starts: Keywords | Literal["all"] = ()
    also: Annotated[tuple[Keyword, ...], BeforeValidator(_tuple)] = ()
    token: Literal[0, 16, 24, 32] = 0
    reach: Annotated[int, Field(ge=16, le=4096)] | Literal["all"] = DEFAULT_REACH
    min_distinct: Annotated[int, Field(ge=0, le=64)] = 0
    entropy: Annotated[float, BeforeValidator(_number), Field(ge=0, le=8)] = 0.0
    contains: Annotated[tuple[Kind, ...], BeforeValidator(_tuple)] = ()
    unless: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = ()
    validator: str | None = None
    surfaces: (
        Annotated[tuple[Surface, ...], BeforeValidator(_surfaces), Field(min_length=1)] | None
    ) = None
    weight: Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)] = 1.0
    generic: bool = False
    home: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = ()
    match: Annotated[Samples, Field(min_length=1)]
    clean: Samples = ()
    known_miss: Samples = ()


class PackModel(BaseModel):
    """A pack file as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    pack: Annotated[str, Field(min_length=1)]
    kind: PackKind
    rules: Annotated[tuple[RuleModel, ...], BeforeValidator(_tuple), Field(min_length=1)]
