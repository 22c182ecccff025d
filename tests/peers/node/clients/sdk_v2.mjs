// The client of the TypeScript SDK, second line: `URL legacy|auto|sse`.

import {
  Client,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";

import { FILLED_IN, SAMPLED, runSteps } from "./steps.mjs";

const [url, mode] = process.argv.slice(2);
const client = new Client(
  { name: "sdk-v2", version: "1.0.0" },
  {
    capabilities: { elicitation: {}, sampling: {} },
    versionNegotiation: { mode: mode === "auto" ? "auto" : "legacy" },
  },
);
client.setRequestHandler("elicitation/create", async () => FILLED_IN);
client.setRequestHandler("sampling/createMessage", async () => SAMPLED);

const Transport = mode === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
await client.connect(new Transport(new URL(url)));
await runSteps(
  client,
  (params, options) => client.callTool(params, options),
  client.getNegotiatedProtocolVersion(),
);
