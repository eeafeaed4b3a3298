// Receives webhooks of runbridge: verified, each event once, answered at once. Node.js 18 or later, nothing to install.
//
//     WEBHOOK_KEYS="whsec_..." node receiver.mjs 8080
//
// WEBHOOK_KEYS holds one or more keys with spaces between: all that may sign for now, whsec_ secrets and whpk_ public
// keys.

import { createHmac, createPublicKey, timingSafeEqual, verify as verifyEd25519 } from "node:crypto";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const TOLERANCE = 300; // seconds that the clocks may differ, and that a request may be under way
const LARGEST_BODY = 16 * 1024 * 1024;
const REMEMBERED = 100_000; // ids
const MOST_WAITING = 1_000; // requests

// <verify>
/** Why a request can't be trusted; "" if one of its signatures is by one of the keys. `body` is the Buffer as it came. */
export function verify(keys, headers, body) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (!id || !timestamp || !signatures) return "a webhook- header is missing";
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) {
    return "the timestamp is too old or too new";
  }
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  for (const signature of signatures.split(" ")) {
    const [version, text = ""] = signature.split(",");
    const raw = Buffer.from(text, "base64");
    if (keys.some((key) => fits(key, version, signed, raw))) return "";
  }
  return "no signature is by one of our keys";
}

/** Whether this is the key's signature. Versions that are not known yet never fit, and are no error. */
function fits(key, version, signed, signature) {
  const [kind, text] = key.split("_");
  const raw = Buffer.from(text, "base64");
  if (kind === "whsec" && version === "v1") {
    const expected = createHmac("sha256", raw).update(signed).digest();
    return signature.length === expected.length && timingSafeEqual(expected, signature);
  }
  if (kind === "whpk" && version === "v1a") {
    const jwk = { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") };
    return verifyEd25519(null, signed, createPublicKey({ key: jwk, format: "jwk" }), signature);
  }
  return false;
}
// </verify>

/** What this receiver is for. One event after another, so that their order stays. */
function handle(id, body) {
  const events = [JSON.parse(body)].flat(); // a list with `format = "batched"`
  for (const event of events) console.log(id, event.type, event.subject, event.id);
}

// What has arrived and waits for `handle`, and the ids of what came lately. In memory, so that a crash loses what waits:
// where that matters, insert id and body into a table whose id is unique before the answer, and work from the table.
const waiting = [];
const known = new Set();

/** False when there is no room now; what is known already needs none. */
function put(id, body) {
  if (known.has(id)) return true;
  if (waiting.length >= MOST_WAITING) return false;
  if (waiting.push([id, body]) === 1) setImmediate(next);
  known.add(id);
  if (known.size > REMEMBERED) known.delete(known.values().next().value); // the oldest
  return true;
}

function next() {
  const [id, body] = waiting[0];
  try {
    handle(id, body);
  } catch (error) { // one event that can't be handled must not stop the others
    console.error("not handled:", id, error);
  }
  waiting.shift();
  if (waiting.length) setImmediate(next);
}

async function receive(request, response, keys) {
  const answer = (status) => response.writeHead(status).end();
  if (request.method !== "POST") return answer(405);
  const tooLarge = () => response.writeHead(413, { connection: "close" }).end();
  if (Number(request.headers["content-length"]) > LARGEST_BODY) return tooLarge();
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > LARGEST_BODY) return tooLarge();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const problem = verify(keys, request.headers, body);
  if (problem) {
    console.error("refused:", problem);
    return answer(401);
  }
  if (!put(request.headers["webhook-id"], body)) return response.writeHead(503, { "retry-after": "5" }).end();
  return answer(204); // also for what is known already: it has arrived
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const keys = (process.env.WEBHOOK_KEYS ?? "").split(/\s+/).filter(Boolean);
  if (!keys.length) {
    console.error("set WEBHOOK_KEYS to the destination's key, whsec_... or whpk_... (`runbridge keys` makes one)");
    process.exit(1);
  }
  const server = createServer((request, response) => {
    receive(request, response, keys).catch((error) => {
      console.error("broken request:", error.message);
      response.destroy();
    });
  });
  server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
    console.log("listening on port", server.address().port);
  });
}
