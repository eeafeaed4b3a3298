// Judges signed requests by the npm packages `standardwebhooks` and `svix` of the current directory, and signs with them.
// Reads one JSON array of {secret, id, at, body, headers} and writes one of {package: {verified, signed}}.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const packages = { standardwebhooks: require("standardwebhooks").Webhook, svix: require("svix").Webhook };

function judged(Webhook, { secret, id, at, body, headers }) {
  const webhook = new Webhook(secret);
  let verified = true;
  try {
    webhook.verify(body, headers);
  } catch {
    verified = false;
  }
  return { verified, signed: webhook.sign(id, new Date(at * 1000), body) };
}

const judge = (request) =>
  Object.fromEntries(Object.entries(packages).map(([name, Webhook]) => [name, judged(Webhook, request)]));
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(judge)));
