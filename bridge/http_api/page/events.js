"use strict";
// The last events, newest first, and one of them in full. Holds still while it is pointed at, paused, or read.

const MOST_KEPT = 500;
const MOST_LISTED = 50;

const events = {
  kept: [],
  held: [], // came while the list holds still
  paused: false,
  pointed: false,
  skipped: 0,
  rows: new KeyedRows(document.querySelector("#events tbody"), eventRow),

  start() {
    const region = document.querySelector("#events .scroll");
    const point = (pointed) => (event) => {
      if (event.pointerType === "touch") return;
      this.pointed = pointed;
      this.show();
    };
    region.addEventListener("pointerenter", point(true));
    region.addEventListener("pointerleave", point(false));
    region.addEventListener("focusin", () => this.show());
    region.addEventListener("focusout", () => this.show());
    byId("events-filter").addEventListener("input", () => this.show(true));
    byId("events-pause").addEventListener("click", () => {
      this.paused = !this.paused;
      const verb = this.paused ? "Go on" : "Pause";
      write(byId("events-pause"), verb);
      mark(byId("events-pause"), "aria-label", `${verb}${this.paused ? " with" : ""} the list of events`);
      mark(byId("events-pause"), "class", this.paused ? "main" : "");
      this.show();
    });
  },

  add(entry) {
    this.skipped += entry.skipped ?? 0;
    this.held.unshift(entry);
    this.held.length = Math.min(this.held.length, MOST_KEPT);
  },

  get still() {
    const focused = document.querySelector("#events tbody").contains(document.activeElement);
    return this.paused || this.pointed || focused || sheet.isOpen;
  },

  show(anew = false) {
    if (!this.still || anew) {
      this.kept = [...this.held.splice(0), ...this.kept].slice(0, MOST_KEPT);
    }
    const words = byId("events-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.kept.filter(({ type, subject, id }) => {
      const text = `${type}\n${subject}\n${id}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.rows.show(found.slice(0, MOST_LISTED), ({ entry }) => entry);
    const empty = document.querySelector("#events .empty");
    shown(empty, found.length === 0);
    const none = "None of the last events has that in its type, subject or id.";
    write(empty, this.kept.length ? none : "No event since this page was opened.");
    write(byId("events-tally"), this.tally());
  },

  tally() {
    if (this.held.length > 0) {
      const newer = this.held.length === MOST_KEPT ? `${MOST_KEPT} or more` : this.held.length;
      return `${this.paused ? "Paused" : "Holding still"}, ${newer} newer`;
    }
    if (this.paused) return "Paused";
    return this.skipped ? `A sample; ${count(this.skipped)} more passed` : "";
  },
};

function eventRow(entry) {
  const button = element("button", { type: "button", class: "name" }, named("span", { class: "clamp" }, entry.type));
  const node = element(
    "tr",
    { class: "pointer" },
    element("td", { class: "time", title: entry.time }, clock(entryTime(entry.entry))),
    element("td", {}, button, named("p", { class: "how narrow clamp" }, entry.subject)),
    element("td", { class: "mid" }, named("p", { class: "clamp" }, entry.subject)),
    element("td", { class: "wide" }, named("p", { class: "clamp" }, entry.id)),
  );
  node.addEventListener("click", () => {
    if (getSelection().isCollapsed) showEvent(entry.entry, entry.type, button);
  });
  return { node, fill: () => {} };
}

/** One event whole, as it lies in the log. */
async function showEvent(entry, title, opener) {
  opener.focus();
  sheet.open(title, [element("p", {}, "Fetching it\u2026")]);
  try {
    const text = await getText(`/v1/events/${encodeURIComponent(entry)}`);
    if (sheet.isOpen) showWhole(title, entry, text);
  } catch (error) {
    byId("sheet-body").replaceChildren(element("p", { class: "error" }, `It can't be shown: ${error.message}.`));
  }
}

function showWhole(title, entry, text) {
  let event = {};
  try {
    event = JSON.parse(text);
  } catch {
    title = "An entry that is no JSON"; // it is shown as it is
  }
  const facts = definitions(
    [
      ["Subject", event.subject],
      ["Source", event.source],
      ["Id", event.id],
      ["Time", event.time && moment(event.time)],
      ["Sequence", event.sequence],
      ["Entry in the log", entry],
    ].map(([name, value]) => [name, value && String(value)]),
  );
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      write(copy, "Copied");
    } catch {
      write(copy, "The browser refuses to copy");
    }
  });
  write(byId("sheet-title"), title);
  byId("sheet-body").replaceChildren(facts, element("pre", {}, ...laidOut(text)));
  byId("sheet-acts").replaceChildren(copy);
}
