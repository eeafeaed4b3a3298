"use strict";
// The bridge: calls of its API, and the stream of how it stands. It comes back by itself, and says why it is away.

const SILENCE = 25_000; // ms without a byte after which a connection is given up; the bridge says something every 10 s
const LONGEST_WAIT = 15_000; // ms between two tries
const CALL = 15_000; // ms that one call may take

/** The bridge said no, or nothing: a sentence for the reader, and the status where there was one. */
class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const token = {
  get value() {
    return sessionStorage.getItem("token") ?? "";
  },
  set value(text) {
    if (text) sessionStorage.setItem("token", text);
    else sessionStorage.removeItem("token");
  },
};

/** An answer with a good status. Throws Refused. */
async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token.value ? { Authorization: `Bearer ${token.value}` } : {}) };
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
  } catch (error) {
    throw new Refused(
      error.name === "TimeoutError" ? "the bridge takes too long to answer" : "the bridge doesn't answer",
    );
  }
  if (!response.ok) throw new Refused(await problem(response), response.status);
  return response;
}

/** Why, of an answer with a bad status: the detail of RFC 9457 and its errors, or the status. */
async function problem(response) {
  try {
    return sayOf(await response.json());
  } catch {
    return `the bridge answered ${response.status}`;
  }
}

function sayOf({ detail, title, errors = [] }) {
  const each = errors.map(({ path, message }) => (path ? `${path}: ${message}` : message));
  return [detail ?? title ?? "it gives no reason", ...each].join("; ");
}

/** GET a text. Throws Refused. */
async function getText(path) {
  return (await ask(path, { signal: AbortSignal.timeout(CALL) })).text();
}

/** GET or POST JSON; null where the answer is empty. Throws Refused. */
async function call(method, path, body) {
  const sent =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await ask(path, { method, signal: AbortSignal.timeout(CALL), ...sent });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** The frames of an event stream, {event, data}; undefined for each chunk, so that a caller sees it is alive. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield undefined;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (line === "") {
        if (data.length) yield { event, data: data.join("\n") };
        event = "";
        data = [];
      } else if (field === "event") event = text;
      else if (field === "data") data.push(text);
    }
  }
}

/**
 * The connection to /v1/live. `on` has: overview(object), entry(object), state(state, reason, next try in ms).
 * The states: "live"; "blind", the bridge can't read its log; "lost"; "locked", it asks for a token.
 */
class Live {
  #on;
  #wake = () => {};
  #abort = new AbortController();

  constructor(on) {
    this.#on = on;
    addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.now());
  }

  /** Try at once, where a try is being waited for. */
  now() {
    this.#wake();
  }

  /** Leave, and connect anew: the token is another one. */
  again() {
    this.#abort.abort();
    this.#wake();
  }

  async run() {
    for (let failures = 0; ; failures += 1) {
      let reason = "the bridge ended the connection";
      let locked = false;
      try {
        await this.#once(() => (failures = 0));
      } catch (error) {
        reason = error.message;
        locked = error.status === 401;
      }
      // full jitter over the upper half: many pages don't come back in one moment
      const wait = Math.min(LONGEST_WAIT, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
      this.#on.state(locked ? "locked" : "lost", reason, wait);
      await new Promise((done) => {
        this.#wake = done;
        if (!locked) setTimeout(done, wait); // with a token that is not accepted, only another token helps
      });
    }
  }

  async #once(connected) {
    const abort = (this.#abort = new AbortController());
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE);
    };
    try {
      alive();
      const response = await ask("/v1/live", { headers: { Accept: "text/event-stream" }, signal: abort.signal });
      for await (const frame of frames(response.body)) {
        alive();
        if (frame === undefined) continue;
        if (frame.event === "overview") {
          connected();
          this.#on.state("live", "", 0);
          this.#on.overview(JSON.parse(frame.data));
        } else if (frame.event === "problem") {
          connected();
          this.#on.state("blind", sayOf(JSON.parse(frame.data)), 0);
        } else if (frame.event === "entry") this.#on.entry(JSON.parse(frame.data));
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused(abort.signal.aborted ? "nothing was heard any more" : "the connection broke");
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }
}
