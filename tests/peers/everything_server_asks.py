"""The tools that ask the client for something: on the stream of a call, or inside its result."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types
from everything_server_tools import Call, Result, said, tool
from mcp import MCPError


def form(**properties: Any) -> dict[str, Any]:
    """Return the schema of a form with these fields, none of them required."""
    return {"type": "object", "properties": properties}


def ask_user(message: str, **properties: Any) -> types.ElicitRequest:
    """Return the request to let the user fill a form, every field of it required."""
    schema = {**form(**properties), "required": list(properties)}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def ask_model(prompt: str, *, tokens: int = 100) -> types.CreateMessageRequest:
    """Return the request to let the client's model go on after *prompt*."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=tokens)
    )


def needs(state: str | None = None, **requests: types.InputRequest) -> types.InputRequiredResult:
    """Return the result that asks the client for more before the call can end."""
    return types.InputRequiredResult(input_requests=requests, request_state=state)


# ----- requests to the client on the stream of a call, through 2025-11-25


@tool("test_sampling", "Ask the client's model.", prompt={"type": "string"})
async def sampling(call: Call) -> Result:
    message = types.SamplingMessage(
        role="user", content=types.TextContent(text=call.text("prompt"))
    )
    reply = await call.context.session.create_message(
        [message], max_tokens=100, related_request_id=call.context.request_id
    )
    text = reply.content.text if isinstance(reply.content, types.TextContent) else "no text"
    return said(f"LLM response: {text}")


async def elicited(call: Call, message: str, schema: dict[str, Any], start: str) -> Result:
    """Let the user fill a form and say what came of it."""
    reply = await call.context.session.elicit_form(message, schema, call.context.request_id)
    return said(f"{start}: action={reply.action}, content={json.dumps(reply.content)}")


@tool("test_elicitation", "Ask the user.", message={"type": "string"})
async def elicitation(call: Call) -> Result:
    schema = form(
        username={"type": "string", "description": "User's response"},
        email={"type": "string", "description": "User's email address"},
    )
    schema["required"] = ["username", "email"]
    return await elicited(call, call.text("message"), schema, "User response")


@tool("test_elicitation_sep1034_defaults", "Ask the user with defaults of every kind.")
async def elicitation_defaults(call: Call) -> Result:
    schema = form(
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return await elicited(call, "Please review the values", schema, "Elicitation completed")


@tool("test_elicitation_sep1330_enums", "Ask the user with enums of every kind.")
async def elicitation_enums(call: Call) -> Result:
    plain = ["option1", "option2", "option3"]
    titles = ["First", "Second", "Third"]

    def titled(noun: str) -> list[dict[str, str]]:
        return [{"const": f"value{number}", "title": f"{word} {noun}"}
                for number, word in enumerate(titles, 1)]  # fmt: skip

    schema = form(
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled("Option")},
        legacyEnum={"type": "string", "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled("Choice")}},
    )  # fmt: skip
    return await elicited(call, "Please choose", schema, "Elicitation completed")


# ----- requests to the client inside a result, from 2026-07-28


def lacks(**capabilities: Any) -> MCPError:
    """Return the error that tells the client what it would have to be able to do."""
    wanted = types.ClientCapabilities(**capabilities)
    data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=wanted)
    return MCPError(
        types.MISSING_REQUIRED_CLIENT_CAPABILITY, "The client lacks what this tool needs",
        data.model_dump(by_alias=True, exclude_none=True),
    )  # fmt: skip


@tool("test_missing_capability", "Refuse a client that cannot sample.")
async def missing_capability(call: Call) -> Result:
    if not call.declared("sampling"):
        raise lacks(sampling=types.SamplingCapability())
    return said("The client can sample.")


@tool("failing_job", "Refuse a client that knows no tasks.")
async def failing_job(_: Call) -> Result:
    raise lacks(extensions={"io.modelcontextprotocol/tasks": {}})


USER_NAME = ask_user("What is your name?", name={"type": "string"})


@tool("test_input_required_result_elicitation", "Ask for a name, then greet.")
async def mrtr_elicitation(call: Call) -> Result:
    answer = call.answer("user_name")
    if answer is None:
        return needs(user_name=USER_NAME)
    return said(f"Hello, {(answer.content or {}).get('name')}!")


@tool("test_streaming_elicitation", "Report progress, then ask for a name.")
async def streaming_elicitation(call: Call) -> Result:
    await call.context.session.report_progress(1, 2)
    return await mrtr_elicitation(call)


@tool("test_input_required_result_sampling", "Ask the client's model.")
async def mrtr_sampling(call: Call) -> Result:
    reply = (call.params.input_responses or {}).get("capital_question")
    if not isinstance(reply, types.CreateMessageResult):
        return needs(capital_question=ask_model("What is the capital of France?"))
    return said(reply.content if isinstance(reply.content, types.TextContent) else "no text")


@tool("test_input_required_result_list_roots", "Ask for the client's roots.")
async def mrtr_roots(call: Call) -> Result:
    reply = (call.params.input_responses or {}).get("client_roots")
    if not isinstance(reply, types.ListRootsResult):
        return needs(client_roots=types.ListRootsRequest())
    return said("Roots: " + ", ".join(str(root.uri) for root in reply.roots))


CONFIRM = ask_user("Please confirm", ok={"type": "boolean"})


@tool("test_input_required_result_request_state", "Ask to confirm, and know the answer by a state.")
@tool("test_input_required_result_tampered_state", "Ask to confirm, and refuse a forged state.")
async def mrtr_state(call: Call) -> Result:
    if call.params.request_state != "confirming":
        return needs("confirming", confirm=CONFIRM)
    return said("state-ok")


@tool("test_input_required_result_multiple_inputs", "Ask for three things at once.")
async def mrtr_several(call: Call) -> Result:
    wanted: dict[str, types.InputRequest] = {
        "user_name": USER_NAME,
        "greeting": ask_model("Generate a greeting", tokens=50),
        "client_roots": types.ListRootsRequest(),
    }
    if not wanted.keys() <= (call.params.input_responses or {}).keys():
        return types.InputRequiredResult(input_requests=wanted, request_state="several")
    return said("All three came.")


@tool("test_input_required_result_multi_round", "Ask twice.")
async def mrtr_rounds(call: Call) -> Result:
    if call.answer("step2") is not None and call.params.request_state == "second":
        return said("Both rounds are over.")
    if call.answer("step1") is not None and call.params.request_state == "first":
        colour = ask_user("Step 2: What is your favorite color?", color={"type": "string"})
        return needs("second", step2=colour)
    return needs("first", step1=ask_user("Step 1: What is your name?", name={"type": "string"}))


@tool("test_input_required_result_capabilities", "Ask only for what the client can do.")
async def mrtr_capabilities(call: Call) -> Result:
    asks: dict[str, types.InputRequest] = {}
    if call.declared("sampling"):
        asks["greeting"] = ask_model("Generate a greeting")
    if call.declared("elicitation"):
        asks["user_name"] = USER_NAME
    if not asks:
        return said("There is nothing to ask this client.")
    return types.InputRequiredResult(input_requests=asks)
