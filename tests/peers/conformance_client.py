"""The client that the official conformance suite examines: the Python SDK, told by scenario names.

The suite appends the server's URL and sets ``MCP_CONFORMANCE_SCENARIO``, ``_CONTEXT`` (JSON) and
``_PROTOCOL_VERSION``. ``CONFORMANCE_CONNECT_TO=HOST:PORT`` makes connections for the server's
origin go there, as a changed DNS entry would; URLs and Host headers stay what they are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx2
import mcp_types as types
from mcp import MCPError
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import AnyUrl, ValidationError

# The suite looks for this very client id where a server takes metadata documents as ids.
METADATA_URL = "https://conformance-test.local/client-metadata.json"
CALLBACK = AnyUrl("http://localhost:3000/callback")
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"

type Play = Callable[[Client, dict[str, Any]], Awaitable[None]]


class Detour(httpx2.AsyncHTTPTransport):
    """Connects to *where* and leaves everything that is sent as it is."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.host, _, port = where.rpartition(":")
        self.port = int(port)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        extensions = {**request.extensions, "sni_hostname": request.url.host}
        detoured = httpx2.Request(
            request.method,
            request.url.copy_with(host=self.host, port=self.port),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        return await super().handle_async_request(detoured)


def web_client(url: str, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
    """Return a client as the SDK would make it, with the detour if one is wanted."""
    where = os.environ.get("CONFORMANCE_CONNECT_TO")
    parts = urlsplit(url)
    mounts = {f"{parts.scheme}://{parts.netloc}": Detour(where)} if where else None
    return httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(60), mounts=mounts)


class Memory:
    """Tokens and the registration, for the length of one scenario."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """A person who agrees at once: opens the authorization URL and reads where it leads."""

    def __init__(self) -> None:
        self.answer: dict[str, list[str]] = {}

    async def open(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=False) as web:
            response = await web.get(url)
        self.answer = parse_qs(urlsplit(response.headers["location"]).query)

    async def callback(self) -> AuthorizationCodeResult:
        state, issuer = self.answer.get("state", [None]), self.answer.get("iss", [None])
        return AuthorizationCodeResult(code=self.answer["code"][0], state=state[0], iss=issuer[0])


def by_code(url: str, context: dict[str, Any]) -> httpx2.Auth:
    """Return the authorization code flow, with the client of *context* where one is given."""
    memory, browser = Memory(), Browser()
    if "client_secret" in context:
        memory.client = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context["client_secret"],
            redirect_uris=[CALLBACK],
            token_endpoint_auth_method="client_secret_basic",
        )
    metadata = OAuthClientMetadata(client_name="conformance client", redirect_uris=[CALLBACK])
    return OAuthClientProvider(
        url, metadata, memory, browser.open, browser.callback, client_metadata_url=METADATA_URL
    )


async def issuer_of(url: str) -> str:
    """Return the authorization server that the protected resource at *url* names."""
    parts = urlsplit(url)
    where = urlunsplit(parts._replace(path=f"/.well-known/oauth-protected-resource{parts.path}"))
    async with web_client(url) as web:
        answer = (await web.get(where)).json()
    return str(answer["authorization_servers"][0])


async def by_secret(url: str, context: dict[str, Any]) -> httpx2.Auth:
    return ClientCredentialsOAuthProvider(
        url, Memory(), context["client_id"], context["client_secret"], issuer=await issuer_of(url)
    )


async def by_key(url: str, context: dict[str, Any]) -> httpx2.Auth:
    identity = context["client_id"]
    signing = SignedJWTParameters(
        issuer=identity,
        subject=identity,
        signing_algorithm=context["signing_algorithm"],
        signing_key=context["private_key_pem"],
    )
    return PrivateKeyJWTOAuthProvider(
        url, Memory(), identity, signing.create_assertion_provider(), issuer=await issuer_of(url)
    )


async def by_enterprise(url: str, context: dict[str, Any]) -> httpx2.Auth:
    """Return the flow that swaps the enterprise's ID token for a grant of the server's."""

    async def assertion(audience: str, resource: str) -> str:
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": ID_JAG,
            "subject_token": context["idp_id_token"],
            "subject_token_type": ID_TOKEN,
            "audience": audience,
            "resource": resource,
            "client_id": context["idp_client_id"],
        }
        async with httpx2.AsyncClient() as web:
            answer = await web.post(context["idp_token_endpoint"], data=form)
        return str(answer.raise_for_status().json()["access_token"])

    return IdentityAssertionOAuthProvider(
        url,
        Memory(),
        context["client_id"],
        context["client_secret"],
        issuer=await issuer_of(url),
        assertion_provider=assertion,
        token_endpoint_auth_method="client_secret_basic",
    )


OTHER_FLOWS = {
    "auth/client-credentials-basic": by_secret,
    "auth/client-credentials-jwt": by_key,
    "auth/enterprise-managed-authorization": by_enterprise,
}


async def elicit(
    context: ClientRequestContext,  # noqa: ARG001 - the SDK names the arguments
    params: types.ElicitRequestParams,
) -> types.ElicitResult:
    """Accept the form with the defaults that its schema names."""
    schema = params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else {}
    fields = schema.get("properties", {}).items()
    defaults = {name: field["default"] for name, field in fields if "default" in field}
    return types.ElicitResult(action="accept", content=defaults)


async def sample(
    context: ClientRequestContext,  # noqa: ARG001
    params: types.CreateMessageRequestParams,  # noqa: ARG001
) -> types.CreateMessageResult:
    said = types.TextContent(type="text", text="an answer")
    return types.CreateMessageResult(role="assistant", content=said, model="none")


async def roots(context: ClientRequestContext) -> types.ListRootsResult:  # noqa: ARG001
    return types.ListRootsResult(roots=[])


async def list_only(client: Client, _: dict[str, Any]) -> None:
    await client.list_tools()


async def call_first(client: Client, _: dict[str, Any]) -> None:
    for tool in (await client.list_tools()).tools[:1]:
        await client.call_tool(tool.name, {})


async def add(client: Client, _: dict[str, Any]) -> None:
    await client.list_tools()
    await client.call_tool("add_numbers", {"a": 5, "b": 3})


async def call_all(client: Client, _: dict[str, Any]) -> None:
    """Call every tool that the SDK lets through; what one of them answers stops no other."""
    for tool in (await client.list_tools()).tools:
        wanted = dict.fromkeys(tool.input_schema.get("required", ()), "x")
        with suppress(MCPError, ValidationError):
            await client.call_tool(tool.name, wanted)


async def call_as_told(client: Client, context: dict[str, Any]) -> None:
    await client.list_tools()
    for call in context["toolCalls"]:
        await client.call_tool(call["name"], call["arguments"])


async def every_method(client: Client, _: dict[str, Any]) -> None:
    await call_all(client, {})
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


async def echo_schema(client: Client, _: dict[str, Any]) -> None:
    focal = (await client.list_tools()).tools[0]
    await client.call_tool("json_schema_echo", {"schema": focal.input_schema})


PLAYS: dict[str, Play] = {
    "initialize": list_only,
    "tools_call": add,
    "request-metadata": list_only,
    "sep-2322-client-request-state": call_all,
    "http-standard-headers": every_method,
    "http-custom-headers": call_as_told,
    "http-invalid-tool-headers": call_all,
    "json-schema-ref-no-deref": list_only,
    "json-schema-2020-12-preservation": echo_schema,
}


async def play(url: str, scenario: str, context: dict[str, Any]) -> None:
    """Connect in the revision's way and do what *scenario* is about."""
    auth: httpx2.Auth | None = None
    if scenario in OTHER_FLOWS:
        auth = await OTHER_FLOWS[scenario](url, context)
    elif scenario.startswith("auth/"):
        auth = by_code(url, context)
    version = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    async with (
        web_client(url, auth) as web,
        Client(
            streamable_http_client(url, http_client=web),
            mode="legacy" if version in HANDSHAKE_PROTOCOL_VERSIONS else "auto",
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=roots,
        ) as client,
    ):
        await PLAYS.get(scenario, call_first)(client, context)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def main() -> int:
    """Play the scenario of the environment; 1 where the server was refused, as some must be."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    code = 0
    try:
        asyncio.run(play(sys.argv[-1], scenario, context))
    except* (MCPError, OAuthFlowError, httpx2.HTTPError) as refused:
        for leaf in leaves(refused):
            sys.stderr.write(f"{type(leaf).__name__}: {leaf}\n")
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
