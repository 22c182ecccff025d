// The client of the TypeScript SDK, first line: `URL http|sse|websocket`.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { WebSocketClientTransport } from "@modelcontextprotocol/sdk/client/websocket.js";
import { CreateMessageRequestSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

import { FILLED_IN, SAMPLED, runSteps } from "./steps.mjs";

const TRANSPORTS = {
  http: StreamableHTTPClientTransport,
  sse: SSEClientTransport,
  websocket: WebSocketClientTransport,
};

const [url, mode] = process.argv.slice(2);
const client = new Client(
  { name: "sdk-v1", version: "1.0.0" },
  { capabilities: { elicitation: {}, sampling: {} } },
);
client.setRequestHandler(ElicitRequestSchema, async () => FILLED_IN);
client.setRequestHandler(CreateMessageRequestSchema, async () => SAMPLED);

const transport = new TRANSPORTS[mode](new URL(url));
await client.connect(transport);
await runSteps(
  client,
  (params, options) => client.callTool(params, undefined, options),
  transport.protocolVersion ?? transport._protocolVersion,
);
