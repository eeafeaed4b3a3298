"use strict";
// The flow: rows of sources and destinations, the log between them, and what a person can do about each.

/** Rates of the last two minutes by what they are of: "log", "sources x". */
const histories = new Map();

function historyOf(key) {
  if (!histories.has(key)) histories.set(key, new Rates());
  return histories.get(key);
}

/** What a row's button does in this state: [verb, path's last part, said when done], or null. */
function action(section, view) {
  if (view.kind === "gone") return null;
  if (view.state === "failed") return ["Try now", "resume", "is asked for again"];
  if (["paused", "disabled", "fenced"].includes(view.state)) return ["Resume", "resume", "is resumed"];
  if (["ended", "unusable"].includes(view.state)) return null;
  return ["Pause", "pause", "is paused"];
}

async function act(section, view, button) {
  const [, part, done] = action(section, view);
  const name = `${section.slice(0, -1)} ${view.id}`;
  button.disabled = true;
  try {
    await call("POST", `/v1/${section}/${encodeURIComponent(view.id)}/${part}`);
    notice(`${capital(name)} ${done}.`);
  } catch (error) {
    notice(`${capital(name)} is as it was: ${error.message}.`, "bad");
  } finally {
    button.disabled = false;
  }
}

/**
 * The parts that rows of both tables have: name, figures and what may be done; and below them state and reason, as wide
 * as the three columns that there always are.
 */
function startRow(section, cells) {
  let view;
  const name = element("button", { type: "button", class: "name" });
  const state = element("span", { class: "state" });
  const about = element("span");
  const why = element("p", { class: "why clamp" });
  const svg = sign();
  const button = element("button", { type: "button", class: "quiet" });
  const node = element(
    "tbody",
    {},
    element(
      "tr",
      {},
      element("th", { scope: "row" }, element("div", { class: "who" }, svg, name)),
      ...cells,
      element("td", { class: "act" }, button),
    ),
    element("tr", { class: "more" }, element("td", { colSpan: 3 }, element("p", { class: "how" }, state, about), why)),
  );
  name.addEventListener("click", () => showView(section, view));
  button.addEventListener("click", () => act(section, view, button));
  const fill = (now, aside) => {
    view = now;
    const level = levelOf(section, view);
    mark(node, "data-level", level);
    setSign(svg, level);
    writeName(name, view.id);
    write(state, stateOf(section, view)[1]);
    // it is broken between two figures, and not in one
    const beside = aside.filter(Boolean).map((text) => `\u00a0\u00b7 ${text.replaceAll(" ", "\u00a0")}`);
    write(about, beside.join(""));
    write(why, view.reason);
    mark(why, "title", view.reason);
    shown(why, view.reason !== "");
    const [verb] = action(section, view) ?? [""];
    shown(button, verb !== "");
    write(button, verb);
    mark(button, "aria-label", `${verb}: ${section.slice(0, -1)} ${view.id}`);
  };
  return { node, fill };
}

function sourceRow({ id }) {
  const number = element("span");
  const spark = sparkline();
  const last = element("td", { class: "number mid" });
  const lag = element("td", { class: "number wide" });
  const row = startRow("sources", [element("td", { class: "number rate" }, spark, number), last, lag]);
  const fill = (view) => {
    const now = Date.now();
    row.fill(view, [clocked.lag(view), view.defined === "added" ? "added" : ""]);
    write(number, rate(view.rate));
    write(last, ago(clocked.age(view.last_event_age_seconds)));
    write(lag, levelOf("sources", view) === "rest" ? NONE : span(view.lag_seconds));
    drawSpark(spark, historyOf(`sources ${id}`), now);
  };
  return { node: row.node, fill };
}

function destinationRow({ id }) {
  const number = element("span");
  const spark = sparkline();
  const behind = element("td", { class: "number" });
  const oldest = element("td", { class: "number wide" });
  const row = startRow("destinations", [element("td", { class: "number rate mid" }, spark, number), behind, oldest]);
  const fill = (view) => {
    row.fill(view, [
      view.in_flight ? `${count(view.in_flight)} in flight` : "",
      view.waiting ? `${count(view.waiting)} waiting${clocked.due(view)}` : "",
      view.dead ? plural(view.dead, "dead letter") : "",
    ]);
    write(number, rate(view.rate));
    write(behind, view.behind === null ? "unknown" : count(view.behind));
    write(oldest, span(clocked.age(view.oldest_seconds)));
    drawSpark(spark, historyOf(`destinations ${id}`), Date.now());
  };
  return { node: row.node, fill };
}

/** Ages go on between two overviews: `elapsed` is how many seconds the last one is old. */
const clocked = {
  elapsed: 0,
  age: (seconds) => (seconds === null || seconds === undefined ? null : seconds + clocked.elapsed),
  until: (seconds) => (seconds === null || seconds === undefined ? null : Math.max(0, seconds - clocked.elapsed)),
  due(view) {
    const next = this.until(view.next_due_seconds);
    if (next === null) return "";
    return next < 1 ? ", due now" : `, next in ${span(next)}`;
  },
  lag: (view) => (view.lag_seconds > 1 ? `lag ${span(view.lag_seconds)}` : ""),
};

/** Everything known of one source or destination. */
function showView(section, view) {
  const noun = capital(section.slice(0, -1));
  const [level, word] = stateOf(section, view);
  const shared = [
    ["State", element("span", {}, sign(level), word)],
    ["Why", view.reason],
    ["Kind", view.kind],
  ];
  const end = ["Defined", view.defined === "added" ? "added while running" : "in the configuration file"];
  const own = section === "sources" ? sourceFacts(view) : destinationFacts(view);
  const acts = [];
  if (action(section, view)) {
    const [verb] = action(section, view);
    const button = element("button", { type: "button", class: "main" }, verb);
    button.addEventListener("click", () => act(section, view, button).then(() => sheet.close()));
    acts.push(button);
  }
  sheet.open(`${noun} ${view.id}`, [definitions([...shared, ...own, end])], acts);
}

function sourceFacts(view) {
  return [
    ["Account", view.account],
    ["Resource", view.resource],
    ["Cursor", view.cursor],
    ["Numbered in Redis", whole.format(view.sequence)],
    ["Stored last", view.time && moment(view.time)],
    ["Rate", rate(view.rate)],
    ["Lag behind the upstream", view.lag_seconds === null ? "" : span(view.lag_seconds)],
    ["Events since the start", `${whole.format(view.events)}, ${bytes(view.bytes)}`],
    ["Parked", whole.format(view.parked)],
    ["Duplicates left out", whole.format(view.duplicates)],
    ["Reconnects", whole.format(view.reconnects)],
  ];
}

function destinationFacts(view) {
  return [
    ["Address", view.url],
    ["In this state for", view.since_seconds === null ? "" : span(clocked.age(view.since_seconds))],
    ["Behind", view.behind === null ? "Redis doesn't know" : plural(view.behind, "entry").replace("entrys", "entries")],
    ["In flight", whole.format(view.in_flight)],
    ["Waiting subjects", whole.format(view.waiting)],
    ["Oldest unsettled", view.oldest_seconds === null ? "" : `${span(clocked.age(view.oldest_seconds))} old`],
    ["Next attempt", view.next_due_seconds === null ? "" : `in ${span(clocked.until(view.next_due_seconds))}`],
    ["Dead letters", whole.format(view.dead)],
    ["Delivered now", rate(view.rate)],
    ["Delivered since the start", `${whole.format(view.delivered)} in ${plural(view.attempts, "attempt")}`],
  ];
}

/** The middle of the flow. `now` in ms. */
function showLog(partitions, newest, now) {
  const total = (name) => partitions.reduce((sum, partition) => sum + partition[name], 0);
  write(byId("log-rate"), rate(total("rate")));
  for (const name of ["entries", "added", "parked"]) write(byId(name), whole.format(total(name)));
  mark(byId("parked"), "data-level", total("parked") ? "watch" : "ok");
  write(byId("newest"), newest ? ago(Math.max(0, (now - newest) / 1000)) : NONE);
  drawSpark(byId("log-spark"), historyOf("log"), now);
  shown(byId("partitions"), partitions.length > 1);
  if (partitions.length > 1) partitionRows.show(partitions, ({ partition }) => partition);
}

function partitionRow({ partition }) {
  const cells = ["entries", "rate"].map(() => element("td", { class: "number" }));
  const node = element("tr", {}, element("th", { scope: "row" }, String(partition)), ...cells);
  const fill = (view) => {
    write(cells[0], whole.format(view.entries));
    write(cells[1], rate(view.rate));
  };
  return { node, fill };
}

const partitionRows = new KeyedRows(document.querySelector("#partitions tbody"), partitionRow);
const panels = {
  sources: new Panel("sources", sourceRow, (view) => [
    view.id,
    view.kind,
    view.account,
    stateOf("sources", view)[1],
    view.reason,
  ]),
  destinations: new Panel("destinations", destinationRow, (view) => [
    view.id,
    view.url,
    stateOf("destinations", view)[1],
    view.reason,
  ]),
};

/** Remember the rates of this moment. */
function remember(overview, now) {
  const sum = (views) => views.reduce((total, view) => total + view.rate, 0);
  historyOf("log").add(now, sum(overview.log));
  const here = new Set(["log"]);
  for (const section of ["sources", "destinations"]) {
    for (const view of overview[section]) {
      here.add(`${section} ${view.id}`);
      historyOf(`${section} ${view.id}`).add(now, view.rate);
    }
  }
  for (const key of histories.keys()) if (!here.has(key)) histories.delete(key);
}

/** No rate is known from now on: the line breaks off. */
function forgetRates(now) {
  for (const history of histories.values()) history.add(now, null);
}

function showPipe(id, perSecond) {
  write(document.querySelector(`#${id} .rate`), rate(perSecond));
  mark(byId(id), "data-flowing", String(perSecond > 0));
}

/** The whole flow. */
function showFlow(overview, now) {
  const sum = (views) => views.reduce((total, view) => total + view.rate, 0);
  panels.sources.show(overview.sources, now);
  panels.destinations.show(overview.destinations, now);
  const newest = Math.max(0, ...overview.log.map(({ last }) => Number(last.split("-")[0]) || 0));
  showLog(overview.log, newest, now);
  showPipe("inflow", sum(overview.sources));
  showPipe("outflow", sum(overview.destinations));
}
