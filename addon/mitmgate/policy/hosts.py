"""What well-known hosts are for: tags that records and warnings show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy.fields import HostPattern, Many
from mitmgate.policy.guards import domains_overlap
from mitmgate.policy.models_list import model_apis
from mitmgate.strictyaml import load_model

_FILE = "hosts.yaml"

type Tag = Literal["carrier", "doh", "model-api", "git", "docs"]
TAGS: tuple[str, ...] = get_args(Tag.__value__)


class _HostEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tag: Tag
    name: Annotated[str, Field(min_length=1)]
    host: Many[HostPattern]


class _HostFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    hosts: tuple[_HostEntry, ...]


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A pattern of hosts, what it is for, and the name people know it by."""

    tag: str
    name: str
    host: str


@cache
def known_hosts() -> tuple[KnownHost, ...]:
    """Return the known hosts in the order of the list, the model APIs last."""
    text = resources.files("mitmgate_rules").joinpath(_FILE).read_text("utf-8")
    entries = load_model(_HostFile, text, file=_FILE).hosts
    listed = (KnownHost(one.tag, one.name, host) for one in entries for host in one.host)
    apis = (KnownHost("model-api", api.name, api.host) for api in model_apis())
    return (*listed, *apis)


@lru_cache(maxsize=1024)
def tags_of(host: str) -> tuple[str, ...]:
    """Return the tags of the normalised *host* in the order of ``TAGS``, ``()`` if it has none."""
    return tuple(tag for tag, hosts in _by_tag() if hosts.matches(host))


def covered(hosts: DomainSet, tag: str) -> Iterator[KnownHost]:
    """Yield the known hosts of *tag* that *hosts* may have, or names below them."""
    for known in known_hosts():
        pattern = parse_domain_pattern(known.host)
        if known.tag == tag and domains_overlap(hosts, DomainSet.of([pattern])):
            yield known


@cache
def _by_tag() -> tuple[tuple[str, DomainSet], ...]:
    patterns = defaultdict(list)
    for known in known_hosts():
        patterns[known.tag].append(parse_domain_pattern(known.host))
    return tuple((tag, DomainSet.of(patterns[tag])) for tag in TAGS)
