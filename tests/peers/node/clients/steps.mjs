// The steps that a test asks of an SDK's client: JSON lines in, JSON lines out.
// tests/peers/sdk_client_steps.py says what they are.

import { createInterface } from "node:readline";

export const FILLED_IN = { action: "accept", content: { colour: "green" } };
export const SAMPLED = {
  role: "assistant",
  model: "none",
  content: { type: "text", text: "hedgehog" },
};

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
const textOf = (blocks) => blocks.map((block) => block.text).join("");

// `callTool(params, options)` hides the one call in which the two SDKs differ.
async function answer(client, callTool, step) {
  switch (step.do) {
    case "tools":
      return { ok: (await client.listTools()).tools.map((tool) => tool.name) };
    case "call": {
      let told = () => {};
      const progress = new Promise((resolve) => (told = resolve));
      const params = { name: step.name, arguments: step.arguments };
      const result = await callTool(params, step.progress ? { onprogress: told } : {});
      if (step.progress) await progress;
      return {
        ok: textOf(result.content),
        isError: result.isError ?? false,
        structured: result.structuredContent ?? null,
      };
    }
    case "prompt": {
      const result = await client.getPrompt({ name: step.name, arguments: step.arguments });
      return { ok: textOf(result.messages.map((message) => message.content)) };
    }
    case "resource":
      return { ok: textOf((await client.readResource({ uri: step.uri })).contents) };
    default:
      throw new Error(`no step ${step.do}`);
  }
}

export async function runSteps(client, callTool, version) {
  say({ ok: "connected", version: version ?? null });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say(await answer(client, callTool, JSON.parse(line)));
    } catch (error) {
      say({ error: error.message, code: error.code ?? null });
    }
  }
  await client.close();
}
