// The client of the TypeScript SDK, second line, that gives up after 3 seconds: `URL legacy|auto`.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import { runSteps } from "./steps.mjs";

const [url, mode] = process.argv.slice(2);
const client = new Client(
  { name: "patient", version: "1.0.0" },
  { versionNegotiation: { mode: mode === "auto" ? "auto" : "legacy" } },
);
const waiting = { timeout: 3000, resetTimeoutOnProgress: true, onprogress: () => {} };

await client.connect(new StreamableHTTPClientTransport(new URL(url)));
await runSteps(
  client,
  (params, options) => client.callTool(params, { ...options, ...waiting }),
  client.getNegotiatedProtocolVersion(),
);
