// The same server on the TypeScript SDK, first line, behind Express as in its documentation:
// `CERTIFICATE`, a PEM file with key and certificates. Says what tests/peers/sdk_client_tools.py says.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express from "express";
import { z } from "zod";

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const ran = (name, args = {}) => tell({ ran: name, arguments: args });
const result = (text) => ({
  content: [{ type: "text", text }],
  structuredContent: { result: text },
});

const title = { title: z.string() };
const TOOLS = {
  read_note: [title, (a) => `The note '${a.title}' says: water the plants.`],
  delete_note: [title, (a) => `'${a.title}' is gone.`],
  publish_note: [title, (a) => `The world can read '${a.title}'.`],
  save_note: [{ ...title, text: z.string() }, (a) => `Saved '${a.title}'.`],
  show_settings: [
    { key: z.array(z.number()) },
    (a) => `région=\t'eu'\nkey=${String.fromCharCode(...a.key)};\nend \\ \u2028`,
  ],
};

const COLOUR = {
  message: "Which colour do you like?",
  requestedSchema: { type: "object", properties: { colour: { type: "string" } } },
};
const IDEA = {
  messages: [{ role: "user", content: { type: "text", text: "Name an animal." } }],
  maxTokens: 10,
};

function addTools(server) {
  const register = (name, inputSchema, run) =>
    server.registerTool(name, { inputSchema, outputSchema: { result: z.string() } }, run);
  for (const [name, [schema, text]] of Object.entries(TOOLS)) {
    register(name, schema, async (args) => {
      ran(name, args);
      return result(text(args));
    });
  }
  register("count_notes", {}, async (_, { _meta, sendNotification }) => {
    ran("count_notes");
    const params = { progressToken: _meta?.progressToken, progress: 1, total: 2 };
    if (_meta?.progressToken !== undefined) {
      await sendNotification({ method: "notifications/progress", params });
    }
    return result("There are 2 notes.");
  });
  // The stream of the call itself is the one that a client surely reads.
  register("paint", {}, async (_, { requestId }) => {
    const answer = await server.server.elicitInput(COLOUR, { relatedRequestId: requestId });
    ran("paint");
    return result(`Painted it ${answer.content.colour}.`);
  });
  register("think", {}, async (_, { requestId }) => {
    const idea = await server.server.createMessage(IDEA, { relatedRequestId: requestId });
    ran("think");
    return result(`It thought of a ${idea.content.text}.`);
  });
}

function addTexts(server) {
  const prompt = (name, text) =>
    server.registerPrompt(name, { argsSchema: { name: z.string() } }, (args) => {
      ran(name, args);
      return { messages: [{ role: "user", content: { type: "text", text: text(args.name) } }] };
    });
  prompt("greeting", (name) => `Greet ${name}.`);
  prompt("farewell", (name) => `Say goodbye to ${name}.`);
  const resource = (uri, text) =>
    server.registerResource(uri, uri, {}, () => {
      ran(uri);
      return { contents: [{ uri, text }] };
    });
  resource("note://public", "Opening hours: nine to five.");
  resource("note://private", "The combination of the safe.");
}

const sessions = new Map();

async function transportOf(request) {
  const known = sessions.get(request.headers["mcp-session-id"]);
  if (known !== undefined) return known;
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  const server = new McpServer({ name: "notes", version: "1.0.0" });
  addTools(server);
  addTexts(server);
  await server.connect(transport);
  return transport;
}

const app = express();
app.use(express.json());
app.all("/mcp", async (request, response) => {
  await (await transportOf(request)).handleRequest(request, response, request.body);
});

const pem = readFileSync(process.argv[2]);
const listening = createServer({ key: pem, cert: pem }, app);
listening.listen(0, "127.0.0.1", () => tell({ port: listening.address().port }));
