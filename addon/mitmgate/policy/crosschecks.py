"""What two places of the policy files say about each other: ids, names of servers, hiding.

The checks look at the plain documents, so that they are reported beside the problems that single
values have, and skip whatever is malformed: the models have reported that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from mitmgate.errors import Problem
from mitmgate.policy import syntax
from mitmgate.policy.egress_rule import HTTPS
from mitmgate.policy.syntax import ServerUrl
from mitmgate.strictyaml import Document, KeyPath, did_you_mean


def cross_problems(document: Document, others: Sequence[Document] = ()) -> list[Problem]:
    """Return the problems between the entries of a policy, and of the *others* it extends."""
    layers = (document, *others)
    return [
        *_duplicate_ids(layers),
        *(problem for layer in layers for problem in _unknown_server_names(document, layer)),
        *_equal_urls(document),
        *_equal_static_names(document),
        *(problem for layer in layers for problem in _bad_rules(layer)),
        *(problem for layer in layers for problem in _closed_servers(document, layer)),
        *_bad_allowances(document),
    ]


def locked_problems(locked: Sequence[Document]) -> list[Problem]:
    """Return the problems between the entries of a locked layer."""
    return [
        *_duplicate_ids(locked),
        *(problem for one in locked for problem in _bad_rules(one)),
        *(problem for one in locked for problem in _opening_floor(one)),
    ]


def _child(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _entries(document: Document, section: str) -> Iterator[tuple[KeyPath, Any]]:
    rules = _child(_child(document.value, section), "rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        yield (section, "rules", number), rule


def rule_ids(document: Document) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the id of each rule in *document*."""
    for section in ("mcp", "egress"):
        for path, rule in _entries(document, section):
            rule_id = _child(rule, "id")
            if isinstance(rule_id, str):
                yield (*path, "id"), rule_id


def _duplicate_ids(layers: Sequence[Document]) -> Iterator[Problem]:
    first: dict[str, tuple[Document, KeyPath]] = {}
    for document in layers:
        for path, rule_id in rule_ids(document):
            other, earlier = first.setdefault(rule_id, (document, path))
            if (other, earlier) != (document, path):
                where = "" if other is document else f" of {other.file}"
                yield document.problem(
                    path, f"{rule_id} is already the id of the rule on line "
                    f"{other.line(earlier)}{where}",
                    hint="records name rules by id: choose another one")  # fmt: skip


def _unknown_server_names(policy: Document, document: Document) -> Iterator[Problem]:
    servers = _child(policy.value, "servers")
    known = sorted(servers) if isinstance(servers, dict) else []
    for path, rule in _entries(document, "mcp"):
        named = _child(rule, "server")
        for name in named if isinstance(named, list) else [named]:
            if isinstance(name, str) and name not in known:
                nearest = did_you_mean(name, known)
                hint = f"did you mean {nearest}?" if nearest else "add it under servers"
                yield document.problem((*path, "server"), f"no server is named {name}", hint=hint)


def _equal_urls(document: Document) -> Iterator[Problem]:
    servers = _child(document.value, "servers")
    first: dict[ServerUrl, str] = {}
    for name, entry in servers.items() if isinstance(servers, dict) else ():
        try:
            url = syntax.parse_server_url(str(_child(entry, "url")))
        except ValueError:
            continue
        earlier = first.setdefault(url, name)
        if earlier != name:
            yield document.problem(("servers", name, "url"), f"{earlier} has the same URL",
                                   hint="give an endpoint one name")  # fmt: skip


def _equal_static_names(document: Document) -> Iterator[Problem]:
    names = _child(_child(document.value, "network"), "resolve")
    first: dict[str, str] = {}
    for name in names if isinstance(names, dict) else ():
        try:
            host = syntax.parse_static_name(name)
        except ValueError:
            continue
        earlier = first.setdefault(host, name)
        if earlier != name:
            yield document.problem(("network", "resolve", name), f"the same host as {earlier}",
                                   hint="remove one")  # fmt: skip


def _bad_rules(document: Document) -> Iterator[Problem]:
    for path, rule in _entries(document, "mcp"):
        if isinstance(rule, dict):
            yield from _bad_hold(document, path, rule)
            yield from _bad_hide(document, path, rule)
            yield from _bad_redaction(document, path, rule)
    for path, rule in _entries(document, "egress"):
        if isinstance(rule, dict):
            yield from _bad_hold(document, path, rule)
            yield from _bad_egress(document, path, rule)


def _bad_hold(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Problem]:
    if "hold" not in rule:
        return
    here = (*path, "hold")
    if rule.get("then") in ("allow", "deny"):
        yield document.problem(here, "only what asks waits",
                               hint="say then: ask, or remove hold")  # fmt: skip
    if rule.get("phase") == "result":
        yield document.problem(here, "a result waits as long as all others",
                               hint="remove hold; hold.wait is for all")  # fmt: skip


def _bad_egress(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Problem]:
    if rule.get("then") == "deny":
        for key in ("max_request", "max_session", "websocket", "dns", "inspect"):
            if rule.get(key) and rule[key] != "body":
                yield document.problem((*path, key), "what is denied does not go on",
                                       hint=f"remove {key}, or say then: allow or ask")  # fmt: skip
    if rule.get("inspect") == "none":
        yield from _bad_passthrough(document, path, rule)
    protocol = rule.get("protocol")
    spoken = protocol if isinstance(protocol, list) else [protocol]
    if rule.get("websocket") and protocol is not None and "websocket" not in spoken:
        yield document.problem((*path, "websocket"), "no WebSocket meets this rule's protocol",
                               hint="add websocket to protocol, or remove one")  # fmt: skip


_SEEN_INSIDE = (
    "methods", "paths", "protocol", "max_request", "max_session", "websocket", "dns", "oauth",
)  # fmt: skip


def _bad_passthrough(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Problem]:
    if rule.get("then") == "ask":
        yield document.problem((*path, "inspect"), "nothing can wait where TLS stays closed",
                               hint="say then: allow, or inspect: headers")  # fmt: skip
    for key in _SEEN_INSIDE:
        if rule.get(key):
            yield document.problem((*path, key), f"TLS stays closed, so nobody sees {key}",
                                   hint=f"remove {key}, or say inspect: body")  # fmt: skip
    for host in _listed(rule.get("host")):
        if isinstance(host, str) and host.startswith("*"):
            yield document.problem((*path, "host"), f"{host} is no exact name, and inspect: none "
                                   "needs one", hint="name each host")  # fmt: skip
    if any(port != HTTPS for port in _listed(rule.get("ports")) if port is not None):
        yield document.problem((*path, "ports"), f"TLS stays closed on port {HTTPS} only",
                               hint="remove ports, or say inspect: body")  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _closed_servers(policy: Document, document: Document) -> Iterator[Problem]:
    """Find hosts of MCP servers where a rule would keep TLS closed."""
    servers = _child(policy.value, "servers")
    hosts: dict[str, str] = {}
    for name, entry in servers.items() if isinstance(servers, dict) else ():
        with contextlib.suppress(ValueError):
            hosts[syntax.parse_server_url(str(_child(entry, "url"))).host] = name
    for path, rule in _entries(document, "egress"):
        if _child(rule, "inspect") != "none":
            continue
        for host in _listed(_child(rule, "host")):
            server = hosts.get(host.lower().removesuffix(".")) if isinstance(host, str) else None
            if server is not None:
                yield document.problem((*path, "host"), f"{host} is the host of server {server}, "
                                       "whose calls are judged", hint="remove inspect")  # fmt: skip


def _opening_floor(document: Document) -> Iterator[Problem]:
    for path, rule in _entries(document, "egress"):
        for key in ("websocket", "dns", "inspect"):
            if _child(rule, key) not in (None, False, "body"):
                yield document.problem((*path, key), "a locked rule opens nothing",
                                       hint="say it in a rule of the policy")  # fmt: skip


def _bad_hide(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Problem]:
    if rule.get("hide") is not True:
        return
    here = (*path, "hide")
    if rule.get("then") in ("allow", "ask"):
        yield document.problem(here, "only a rule that denies can hide",
                               hint="say then: deny, or remove hide")  # fmt: skip
    if rule.get("tool") is None:
        yield document.problem(here, "a rule that hides must have tool",
                               hint='name what it hides; tool: "*" is everything')  # fmt: skip
    for key in ("where", "annotations", "phase"):
        if key in rule:
            yield document.problem(here, f"a rule that hides cannot have {key}",
                                   hint="a list is read before there are arguments")  # fmt: skip


def _bad_redaction(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Problem]:
    redact = rule.get("redact")
    named = {one for one in (redact if isinstance(redact, list) else [redact])
             if isinstance(one, str)}  # fmt: skip
    scan = rule.get("scan")
    for detector in sorted(named & set(scan if isinstance(scan, dict) else ())):
        yield document.problem((*path, "redact"), f"scan names {detector} too",
                               hint="say it in one of them")  # fmt: skip
    words = scan if isinstance(scan, dict) else {}
    for detector in sorted(syntax.DETECTORS - syntax.REDACTABLE):
        if detector in named or words.get(detector) == "redact":
            message = f"{_UNEDITABLE[detector]} is not edited away"
            hint = f"say scan: {{{detector}: deny}}, or ask, or log"
            yield document.problem(path, message, hint=hint)
    if rule.get("then") == "deny" and named:
        yield document.problem((*path, "redact"), "what is denied does not go on",
                               hint="remove redact, or say then: allow or ask")  # fmt: skip


_UNEDITABLE = {
    "injection": "a found injection",
    "poisoning": "a poisoned definition",
    "limits": "what was not scanned to its end",
}
_NARROWING = frozenset({"value", "rule", "pointer", "server", "tool", "host"})


def _bad_allowances(document: Document) -> Iterator[Problem]:
    entries = _child(_child(document.value, "scan"), "allow")
    servers = _child(document.value, "servers")
    known = servers if isinstance(servers, dict) else {}
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        here = ("scan", "allow", number)
        if not isinstance(entry, dict):
            continue
        if _NARROWING.isdisjoint(entry):
            yield document.problem(
                here,
                "this would let every finding be",
                hint="say which: value, rule, pointer, server, tool or host",
            )
        given = entry.get("server")
        for name in given if isinstance(given, list) else [given]:
            if isinstance(name, str) and name not in known:
                yield document.problem(
                    (*here, "server"),
                    f"there is no server {name!r}",
                    hint=did_you_mean(name, known) or "name it in servers",
                )
