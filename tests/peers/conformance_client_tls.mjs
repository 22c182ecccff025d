// Loaded before the conformance suite: the servers of its scenarios listen with TLS.
// Only the transport changes: http.createServer, and the scheme of the URLs that name them.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { registerHooks } from "node:module";

const pem = readFileSync(process.env.CONFORMANCE_SERVER_PEM);
http.createServer = (...given) => https.createServer({ key: pem, cert: pem }, ...given);

const NAMES = "`http://localhost:${";

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.includes("/conformance/dist/")) return loaded;
    const text = loaded.source.toString();
    if (!text.includes(NAMES)) throw new Error(`${url} names no server of its own any more`);
    return { ...loaded, source: text.replaceAll(NAMES, NAMES.replace("http:", "https:")) };
  },
});
