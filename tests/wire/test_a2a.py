"""Agent2Agent: which requests are of it, which documents are its cards, and their digests."""

from __future__ import annotations

from typing import Any

import pytest

from mitmgate.wire.a2a import action_of, card_digest, is_card, is_method
from mitmgate.wire.http import RequestHead

MESSAGE = {"message": {"role": "user", "parts": [{"kind": "text", "text": "hi"}]}}
METHODS: dict[str, tuple[str, Any, bool]] = {
    "0.3 send": ("message/send", MESSAGE, True),
    "0.3 stream": ("message/stream", MESSAGE, True),
    "0.3 get": ("tasks/get", {"id": "7"}, True),
    "0.3 cancel": ("tasks/cancel", {"id": "7"}, True),
    "0.3 list": ("tasks/list", {"contextId": "c"}, True),
    "0.3 resubscribe": ("tasks/resubscribe", {"id": "7"}, True),
    "0.3 push": ("tasks/pushNotificationConfig/set", {"taskId": "7"}, True),
    "0.3 card": ("agent/getAuthenticatedExtendedCard", None, True),
    "1.0 send": ("SendMessage", MESSAGE, True),
    "1.0 stream": ("SendStreamingMessage", MESSAGE, True),
    "1.0 get": ("GetTask", {"id": "7"}, True),
    "1.0 subscribe": ("SubscribeToTask", {"id": "7"}, True),
    "1.0 card": ("GetExtendedAgentCard", {}, True),
    "MCP's task": ("tasks/get", {"taskId": "7"}, False),
    "MCP's list of tasks": ("tasks/list", {}, False),
    "a task named twice": ("tasks/get", {"id": "7", "taskId": "7"}, True),
    "another's SendMessage": ("SendMessage", {"to": "x"}, False),
    "another's method": ("eth_chainId", {}, False),
}


@pytest.mark.parametrize(("method", "params", "wanted"), METHODS.values(), ids=METHODS)
def test_a_method_is_of_a2a(method: str, params: Any, wanted: bool) -> None:
    assert is_method(method, params) is wanted


REQUESTS: dict[str, tuple[RequestHead, str | None]] = {
    "a card": (RequestHead("GET", "https", "a.example", 443, "/.well-known/agent-card.json"),
               "agent-card"),
    "an old card": (RequestHead("GET", "https", "a.example", 443, "/.well-known/agent.json?x=1"),
                    "agent-card"),
    "REST send": (RequestHead("POST", "https", "a.example", 443, "/v1/message:send"),
                  "message:send"),
    "REST stream": (RequestHead("POST", "https", "a.example", 443, "/t/message:stream"),
                    "message:stream"),
    "REST cancel": (RequestHead("POST", "https", "a.example", 443, "/v1/tasks/7:cancel"),
                    "tasks:cancel"),
    "REST card": (RequestHead("GET", "https", "a.example", 443, "/extendedAgentCard"),
                  "extendedAgentCard"),
    **{
        path: (RequestHead("POST", "https", "a.example", 443, path), wanted)
        for path, wanted in {
            "/v1/message%3Asend": "message:send",
            "/v1/message%253asend": "message:send",
            "/v1/message:send/": "message:send",
            "/v1//message:send;v=1": "message:send",
            "/v1/Message:Send/.": "message:send",
            "/v1/tasks/7%3Acancel/": "tasks:cancel",
            "/v1/tasks/7/pushNotificationConfigs": "pushNotificationConfigs",
            "/v1/tasks/7/pushNotificationConfigs/8/": "pushNotificationConfigs",
            "/v1/pushNotificationConfigs": None,
            "/v1/tasks/7/8/pushNotificationConfigs": None,
        }.items()
    },
    "a card with an escape": (
        RequestHead("GET", "https", "a.example", 443, "/.well-known/agent%2Dcard.json"),
        "agent-card"),
    "a card below a path": (
        RequestHead("GET", "https", "a.example", 443, "/x/.well-known/agent-card.json"),
        "agent-card"),
    "the header": (RequestHead("POST", "https", "a.example", 443, "/", (("a2a-version", "1.0"),)),
                   "request"),
    "the media type": (
        RequestHead("POST", "https", "a.example", 443, "/",
                    (("content-type", "application/a2a+json; charset=utf-8"),)), "request"),
    "a page": (RequestHead("GET", "https", "a.example", 443, "/tasks/7"), None),
    "a task of another": (RequestHead("POST", "https", "a.example", 443, "/tasks/7:close"), None),
    "a card that is written": (
        RequestHead("PUT", "https", "a.example", 443, "/.well-known/agent-card.json"), None),
}  # fmt: skip


@pytest.mark.parametrize(("head", "wanted"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_of_a2a(head: RequestHead, wanted: str | None) -> None:
    assert action_of(head) == wanted


CARD = {"name": "agent", "url": "https://a.example/", "capabilities": {}, "skills": [],
        "protocolVersion": "0.3.0"}  # fmt: skip


def test_a_card_is_told_by_its_members() -> None:
    assert is_card(CARD)
    assert is_card({**CARD, "url": None, "supportedInterfaces": []})
    for gone in ("name", "url", "capabilities", "skills"):
        assert not is_card({key: value for key, value in CARD.items() if key != gone})


def test_the_digest_is_of_the_content_and_not_of_its_spelling() -> None:
    turned = dict(reversed(CARD.items()))
    assert card_digest(turned) == card_digest(CARD)
    assert card_digest({**CARD, "name": "agent "}) != card_digest(CARD)
    assert len(card_digest(CARD)) == 64
