"use strict";
// What states mean, in words, and the one sentence on how it all stands. Pure.
// Four levels: "bad" needs somebody, "watch" may mend itself, "rest" stands still on purpose, "ok".

const SOURCE_STATES = {
  connecting: ["ok", "Connecting"],
  connected: ["ok", "Connected"],
  running: ["ok", "Running"],
  reconnecting: ["watch", "Reconnecting"],
  failed: ["bad", "Refused"],
  unusable: ["bad", "Unusable"],
  fenced: ["watch", "Taken over"],
  ended: ["rest", "Ended"],
  paused: ["rest", "Paused"],
};

const DESTINATION_STATES = {
  active: ["ok", "Active"],
  probing: ["watch", "Failing"],
  disabled: ["bad", "Disabled"],
  unusable: ["bad", "Unusable"],
  fenced: ["watch", "Taken over"],
  paused: ["rest", "Paused"],
  gone: ["rest", "Not configured any more"],
};

const SENTENCES = {
  failed: "is refused",
  unusable: "can't be used",
  fenced: "is taken over by another bridge",
  reconnecting: "is reconnecting",
  probing: "fails and is being probed",
  disabled: "is disabled",
};

const RANK = { bad: 0, watch: 1, ok: 2, rest: 3 };
const OLD = 60; // seconds that an event may wait for its delivery before that is worth a look
const PATIENCE = 15_000; // ms that a source may take to reconnect before that is worth a look

/** [level, word] of a source's or a destination's view. */
function stateOf(section, view) {
  const states = section === "sources" ? SOURCE_STATES : DESTINATION_STATES;
  if (section === "destinations" && isRetrying(view)) return ["watch", "Retrying"];
  return states[view.kind === "gone" ? "gone" : view.state] ?? ["watch", view.state];
}

/** Level of a row: its state's, but a destination may be active and late all the same. */
function levelOf(section, view) {
  const [level] = stateOf(section, view);
  return level === "ok" && section === "destinations" && isLate(view) ? "watch" : level;
}

function isActive(destination) {
  return destination.state === "active" && destination.kind !== "gone";
}

function isLate(destination) {
  return isActive(destination) && (destination.oldest_seconds ?? 0) >= OLD;
}

/** Something waits there after a failure, which is its reason. */
function isRetrying(destination) {
  return isActive(destination) && destination.reason !== "";
}

/** Remembers since when each row has been in its state, as this page has seen it. */
class Since {
  #seen = new Map();

  note(overview, now) {
    const before = this.#seen;
    this.#seen = new Map();
    for (const section of ["sources", "destinations"]) {
      for (const { id, state } of overview[section]) {
        const key = `${section} ${id}`;
        const old = before.get(key);
        this.#seen.set(key, old?.state === state ? old : { state, at: now });
      }
    }
  }

  longer(section, id, milliseconds, now) {
    return now - this.#seen.get(`${section} ${id}`).at >= milliseconds;
  }
}

/** What needs somebody and what is worth a look: [{level, section, id, name, text, reason}], the worst first. */
function concerns(overview, since, now) {
  const found = [];
  const told = new Set();
  for (const section of ["sources", "destinations"]) {
    const noun = section.slice(0, -1);
    for (const view of overview[section]) {
      const add = (level, text, reason) =>
        found.push({ level, section, id: view.id, name: `${noun} ${view.id}`, text, reason });
      const [level] = stateOf(section, view);
      const brief = view.state === "reconnecting" && !since.longer(section, view.id, PATIENCE, now);
      if (SENTENCES[view.state] && !brief && view.kind !== "gone") {
        add(level, SENTENCES[view.state], view.reason);
        told.add(`${noun} ${view.id}`);
      } else if (section === "destinations" && isLate(view)) {
        add("watch", `has an event that has waited ${span(view.oldest_seconds)}`, view.reason);
      } else if (section === "destinations" && isRetrying(view)) add("watch", "is retrying", view.reason);
      if (view.dead > 0) add("watch", `has ${plural(view.dead, "dead letter")}`, "");
    }
  }
  for (const [name, reason] of Object.entries(overview.bridge?.problems ?? {})) {
    if (told.has(name)) continue; // its own state says more
    const [noun, id] = name.split(/ (.*)/s);
    const section = { source: "sources", destination: "destinations" }[noun] ?? "";
    found.push({
      level: "bad",
      section,
      id: id ?? "",
      name: section ? name : name === "configuration" ? "the configuration" : capital(name),
      text: name === "configuration" ? "needs mending" : "is not in order",
      reason,
    });
  }
  if (overview.bridge && !overview.bridge.ready && Object.keys(overview.bridge.problems).length === 0) {
    found.push({
      level: "watch",
      section: "",
      id: "",
      name: "The bridge",
      text: "is starting or stopping",
      reason: "",
    });
  }
  return found.sort((one, other) => RANK[one.level] - RANK[other.level]);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const NAMED = 3; // concerns that the sentence names

/**
 * How it all stands: {level, parts, besides, spoken}. `parts` make the sentence: texts, concerns, and reasons as
 * {because}; `spoken` is it without figures that change all the time.
 */
function verdict(overview, found) {
  const bad = found.filter((one) => one.level === "bad");
  const watched = found.filter((one) => one.level === "watch");
  const { sources, destinations } = overview;
  const flowing = overview.log.reduce((sum, partition) => sum + partition.rate, 0);
  const things = `${counted(sources, "source")}, ${counted(destinations, "destination")}`;
  const flow = `${things}, ${rate(flowing).replace("/s", " events/s")}`;
  if (bad.length > 0) {
    const parts = [
      `${bad.length === 1 ? "1 thing needs" : `${whole.format(bad.length)} things need`} you: `,
      ...listed(bad),
      ".",
    ];
    return {
      level: "bad",
      parts,
      besides: watched.length ? ["Worth a look: ", ...listed(watched), "."] : [`${flow}.`],
      spoken: said(parts),
    };
  }
  if (sources.length === 0 && destinations.length === 0) {
    const parts = ["Nothing to do yet: there is no source and no destination."];
    return { level: "rest", parts, besides: [], spoken: said(parts) };
  }
  if (watched.length > 0) {
    const parts = [`Running, with ${plural(watched.length, "thing")} to watch: `, ...listed(watched), "."];
    return { level: "watch", parts, besides: [`${flow}.`], spoken: said(parts) };
  }
  return {
    level: "ok",
    parts: [`All is well: ${flow}`],
    besides: quiet(overview),
    spoken: `All is well: ${things}.`,
  };
}

/** "3 sources (1 paused)" */
function counted(views, noun) {
  const resting = ["paused", "ended"]
    .map((state) => [views.filter((view) => view.state === state).length, state])
    .filter(([number]) => number > 0)
    .map(([number, state]) => `${whole.format(number)} ${state}`);
  return plural(views.length, noun) + (resting.length ? ` (${resting.join(", ")})` : "");
}

function listed(found) {
  const named = found.slice(0, found.length > NAMED + 1 ? NAMED : NAMED + 1);
  const parts = [];
  for (const one of named) {
    if (parts.length) parts.push(named.length === found.length && one === named.at(-1) ? " and " : ", ");
    parts.push(one, ` ${one.text}`);
    if (one.reason) parts.push({ because: shortened(one.reason, one.section ? 64 : 120) }); // or else no row tells more
  }
  if (named.length < found.length) parts.push(` and ${whole.format(found.length - named.length)} more`);
  return parts;
}

function said(parts) {
  return parts.map((part) => (typeof part === "string" ? part : (part.name ?? ` (${part.because})`))).join("");
}

/** What may be added where all is well. */
function quiet(overview) {
  const waiting = overview.destinations.reduce((sum, view) => sum + view.waiting, 0);
  return [
    waiting
      ? `${plural(waiting, "subject")} behind a failed attempt, which will be made again.`
      : "Nothing waits for another attempt.",
  ];
}
