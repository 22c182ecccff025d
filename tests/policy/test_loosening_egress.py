"""What a change of egress rules may let through, in sentences."""

from __future__ import annotations

import pytest

from mitmgate.policy.load import load_policy
from mitmgate.policy.loosening import loosened

NOTHING: tuple[str, ...] = ()


def egress(*entries: str, more: str = "", otherwise: str = "deny") -> str:
    """Return a policy with egress rules of these *entries*."""
    lines = "".join(f"    - {{{entry}}}\n" for entry in entries)
    return f"version: 1\n{more}egress:\n  otherwise: {otherwise}\n  rules:\n{lines or '    []'}\n"


EGRESS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a new allow": (
        egress(), egress("id: docs, host: docs.example, then: allow"),
        ("rule docs is new and allows",)),
    "an allow for more hosts": (
        egress("id: docs, host: docs.example, then: allow"),
        egress("id: docs, host: [docs.example, x.example], then: allow"),
        ("rule docs matches more than before and allows",)),
    "an allow for fewer methods": (
        egress("id: docs, host: docs.example, then: allow"),
        egress("id: docs, host: docs.example, methods: GET, then: allow"), NOTHING),
    "an allow that is gone": (
        egress("id: docs, host: docs.example, then: allow"), egress(), NOTHING),
    "an allow above a deny of its host": (
        egress('id: nope, host: "*.example", then: deny'),
        egress("id: docs, host: docs.example, then: allow",
               'id: nope, host: "*.example", then: deny'),
        ("rule docs is new and allows, above nope",)),
    "a deny that refused tunnels is more than one that follows": (
        egress("id: nope, host: x.example, then: deny"), egress(),
        ("rule nope is gone, it refused tunnels",)),
    "where unknown servers are denied a tunnel leads nowhere": (
        egress("id: nope, host: x.example, then: deny", more="mcp: {unknown_servers: deny}\n"),
        egress(more="mcp: {unknown_servers: deny}\n"), NOTHING),
    "a deny of some methods that otherwise denies too": (
        egress("id: nope, host: x.example, methods: POST, then: deny"), egress(), NOTHING),
    "a deny of fewer methods no longer refuses tunnels": (
        egress("id: nope, host: x.example, then: deny"),
        egress("id: nope, host: x.example, methods: POST, then: deny"),
        ("rule nope matches less than before, it refused tunnels",)),
    "a deny for fewer names below a domain": (
        egress('id: nope, host: "*.x.example", methods: GET, then: deny', otherwise="allow"),
        egress('id: nope, host: "*.y.x.example", methods: GET, then: deny', otherwise="allow"),
        ("rule nope matches less than before, it denied",)),
    "an issuer of tokens": (
        egress("id: auth, host: x.example, then: allow"),
        egress("id: auth, host: x.example, then: allow, oauth: true"), ("rule auth has oauth",)),
    "hosts that have nothing in common change places": (
        egress("id: a, host: a.example, then: allow", "id: b, host: b.example, then: deny"),
        egress("id: b, host: b.example, then: deny", "id: a, host: a.example, then: allow"),
        NOTHING),
}  # fmt: skip

X = "id: r, host: x.example"
CONDITIONS = {
    "a port of the web": (egress(f"{X}, then: allow"),
                          egress(f"{X}, then: allow, ports: [443]"), NOTHING),
    "a rule that opens a port": (
        egress(), egress(f"{X}, then: allow, ports: [22]"),
        ("rule r is new and allows", "rule r opens port 22")),
    "another port": (
        egress(f"{X}, then: allow, ports: 22"), egress(f"{X}, then: allow, ports: [22, 23]"),
        ("rule r matches more than before and allows", "rule r opens port 23")),
    "an ask opens a port, though all else is allowed": (
        egress(otherwise="allow"), egress(f"{X}, then: ask, ports: 22", otherwise="allow"),
        ("rule r opens port 22",)),
    "a denial opens no port": (egress(), egress(f"{X}, then: deny, ports: 22"), NOTHING),
    "a rule that opens the port for more hosts": (
        egress(f"{X}, then: allow, ports: 22"), egress(f"{X}, then: allow, ports: 22",
        "id: two, host: y.example, then: allow, ports: 22"),
        ("rule two is new and allows", "rule two opens port 22")),
    "a rule that no longer denies every port": (
        egress(f"{X}, then: deny", otherwise="allow"),
        egress(f"{X}, then: deny, ports: 443", otherwise="allow"),
        ("rule r matches less than before, it denied",)),
    "a deeper path": (egress(f"{X}, then: allow, paths: /a"),
                      egress(f"{X}, then: allow, paths: [/a/b, /a/c]"), NOTHING),
    "a path that only begins alike": (
        egress(f"{X}, then: allow, paths: /a"), egress(f"{X}, then: allow, paths: /ab"),
        ("rule r matches more than before and allows",)),
    "the root is less than all paths": (
        egress(f"{X}, then: deny", otherwise="allow"),
        egress(f"{X}, then: deny, paths: /", otherwise="allow"),
        ("rule r matches less than before, it denied",)),
    "a denial of more paths, in other letters": (
        egress(f"{X}, then: deny, paths: /A/b", otherwise="allow"),
        egress(f"{X}, then: deny, paths: /a", otherwise="allow"), NOTHING),
    "an allow does not cover what can be read in two ways": (
        egress(f"{X}, then: allow, paths: /a", "id: nope, host: x.example, then: deny, paths: /a",
               otherwise="allow"),
        egress(f"{X}, then: allow, paths: /a", otherwise="allow"),
        ("rule nope is gone, it denied",)),
    "another protocol": (
        egress(f"{X}, then: allow, protocol: http"),
        egress(f"{X}, then: allow, protocol: [http, a2a]"),
        ("rule r matches more than before and allows",)),
    "a smaller limit": (egress(f"{X}, then: allow, max_request: 2KB"),
                        egress(f"{X}, then: allow, max_request: 1KB"), NOTHING),
    "a larger limit": (
        egress(f"{X}, then: allow, max_request: 1KB"),
        egress(f"{X}, then: allow, max_request: 2KB"), ("rule r has a weaker limit",)),
    "no limit any more": (
        egress(f"{X}, then: ask, max_session: 1KB"), egress(f"{X}, then: ask"),
        ("rule r has a weaker limit",)),
    "a limited rule that is gone, and all else is allowed": (
        egress(f"{X}, then: allow, max_session: 1KB", otherwise="allow"),
        egress(otherwise="allow"), ("rule r is gone, it had a smaller limit",)),
    "WebSockets": (egress(f"{X}, then: allow"), egress(f"{X}, then: allow, websocket: text"),
                   ("rule r opens WebSockets to more",)),
    "binary messages": (
        egress(f"{X}, then: allow, websocket: text"), egress(f"{X}, then: allow, websocket: any"),
        ("rule r opens WebSockets to more",)),
    "WebSockets where all is allowed": (
        egress(otherwise="allow"), egress(f"{X}, then: ask, websocket: text", otherwise="allow"),
        ("rule r is new and has websocket",)),
    "fewer WebSockets": (egress(f"{X}, then: allow, websocket: any"),
                         egress(f"{X}, then: allow"), NOTHING),
    "large bodies unread": (
        egress(f"{X}, then: allow"), egress(f"{X}, then: allow, inspect: headers"),
        ("rule r reads less",)),
    "TLS closed": (
        egress(f"{X}, then: allow, inspect: headers"), egress(f"{X}, then: allow, inspect: none"),
        ("rule r reads less",)),
    "TLS open again": (
        egress(f"{X}, then: allow, inspect: none"), egress(f"{X}, then: allow"), NOTHING),
    "large bodies unread where all is allowed": (
        egress(otherwise="allow"), egress(f"{X}, then: ask, inspect: headers", otherwise="allow"),
        ("rule r is new and reads less",)),
    "a rule that read above one that does not": (
        egress(f"{X}, then: allow, methods: GET",
               "id: two, host: x.example, then: allow, inspect: none"),
        egress("id: two, host: x.example, then: allow, inspect: none"),
        ("rule r is gone, it read more",)),
    "a rule that reads less above another": (
        egress(f"{X}, then: allow"),
        egress("id: two, host: x.example, then: allow, methods: GET, inspect: headers",
               f"{X}, then: allow"),
        ("rule two is new and reads less than r",)),
    "DNS over HTTPS": (egress(f"{X}, then: allow"), egress(f"{X}, then: allow, dns: true"),
                       ("rule r has dns",)),
}  # fmt: skip


TABLE = {**EGRESS, **CONDITIONS}


@pytest.mark.parametrize(("old", "new", "sentences"), TABLE.values(), ids=TABLE)
def test_changes(old: str, new: str, sentences: tuple[str, ...]) -> None:
    before, after = load_policy(old, file="old.yaml"), load_policy(new, file="new.yaml")
    assert loosened(before, after) == sentences
    assert loosened(before, before) == loosened(after, after) == ()
