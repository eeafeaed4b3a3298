"use strict";
// Dead letters of each destination that has some: what they are, why, and another try for one or for all of them.

const LETTERS = 20; // of a page
const LOOK_AGAIN = 1_000; // ms between looks at a destination whose letters are tried again
const MOST_GROUPS = 20; // destinations whose letters are listed

const dead = {
  groups: new Map(),

  /** Follow the destinations' counts. */
  show(destinations) {
    const having = destinations.filter((view) => view.dead > 0 || this.groups.get(view.id)?.busy);
    const listed = having.slice(0, MOST_GROUPS);
    for (const [id, group] of this.groups) {
      if (!listed.some((view) => view.id === id)) {
        group.node.remove();
        this.groups.delete(id);
      }
    }
    for (const view of listed) {
      if (!this.groups.has(view.id)) {
        const group = new DeadGroup(view.id);
        this.groups.set(view.id, group);
        byId("dead-groups").append(group.node);
      }
      this.groups.get(view.id).count(view.dead, view.kind !== "gone");
    }
    const total = destinations.reduce((sum, view) => sum + view.dead, 0);
    write(document.querySelector("#dead .count"), total ? whole.format(total) : "");
    write(
      document.querySelector("#dead .tally"),
      having.length > listed.length ? `at ${having.length} destinations, ${MOST_GROUPS} of them listed` : "",
    );
    shown(document.querySelector("#dead .empty"), this.groups.size === 0);
  },
};

/** The dead letters of one destination. */
class DeadGroup {
  #destination;
  #number = -1;
  #delivered = true;
  #letters = [];
  #more = false;
  #wanted = LETTERS;
  #loading = false;
  #asked = new Set();
  #rows;
  #title = element("h3");
  #all = element("button", { type: "button" }, "Retry all");
  #further = element("button", { type: "button", class: "fold" }, "Show more");
  #error = element("p", { class: "error" });

  constructor(destination) {
    this.#destination = destination;
    const body = element("tbody");
    this.#rows = new KeyedRows(body, (letter) => this.#row(letter));
    const head = ["Event", "Given up", "Action"].map((text, at) =>
      element(
        "th",
        { scope: "col", class: ["", "number mid", "act"][at] },
        at === 2 ? element("span", { class: "unseen" }, text) : text,
      ),
    );
    const table = element(
      "table",
      { "aria-label": `Dead letters of ${destination}` },
      element("thead", {}, element("tr", {}, ...head)),
      body,
    );
    this.node = element(
      "div",
      { class: "group" },
      element("div", { class: "head" }, this.#title, this.#all),
      this.#error,
      table,
      this.#further,
    );
    this.#all.addEventListener("click", () => this.#confirm());
    this.#further.addEventListener("click", () => {
      this.#wanted = Math.min(this.#wanted + 5 * LETTERS, MOST_ROWS);
      this.#load();
    });
    shown(this.#error, false);
    shown(this.#further, false);
  }

  get busy() {
    return this.#asked.size > 0;
  }

  get #path() {
    return `/v1/destinations/${encodeURIComponent(this.#destination)}/dead`;
  }

  /** There are so many now: of another number the list is fetched anew. `delivered`: they can be tried again. */
  count(number, delivered) {
    this.#delivered = delivered;
    write(this.#title, `${this.#destination}: ${plural(number, "dead letter")}`);
    write(this.#all, number > 1 ? `Retry all ${whole.format(number)}` : "Retry all");
    shown(this.#all, number > 1 && delivered);
    if (number !== this.#number) {
      this.#number = number;
      this.#load();
    }
  }

  async #load() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const found = await call("GET", `${this.#path}?limit=${this.#wanted}`);
      this.#letters = found.letters;
      shown(this.#error, false);
    } catch (error) {
      write(this.#error, `The letters can't be listed: ${error.message}.`);
      shown(this.#error, true);
    }
    await this.#settle();
    this.#loading = false;
    this.#rows.show(this.#letters, ({ id }) => id);
    shown(this.#further, this.#number > this.#letters.length && this.#letters.length < MOST_ROWS);
    if (this.busy || this.#letters.some(({ retrying }) => retrying)) setTimeout(() => this.#load(), LOOK_AGAIN);
  }

  /** Tell what became of the letters that were asked for here. A letter is gone once it is delivered. */
  async #settle() {
    for (const id of this.#asked) {
      try {
        const letter = await call("GET", `${this.#path}/${encodeURIComponent(id)}`);
        if (letter.retrying) continue;
        notice(`${this.#destination} did not take it: ${reasonOf(letter)}.`, "bad");
      } catch (error) {
        if (error.status !== 404) continue;
        notice(`Delivered to ${this.#destination}.`);
      }
      this.#asked.delete(id);
    }
  }

  #row() {
    let letter;
    const name = element("button", { type: "button", class: "name" });
    const subject = element("p", { class: "how clamp" });
    const said = element("bdi");
    const tries = element("span");
    const why = element("p", { class: "why clamp" }, said, tries);
    const when = element("td", { class: "number mid" });
    const button = element("button", { type: "button", class: "quiet" });
    const node = element(
      "tr",
      { "data-level": "watch" },
      element("th", { scope: "row" }, name, subject, why),
      when,
      element("td", { class: "act" }, button),
    );
    name.addEventListener("click", () => showEvent(letter.entry, letter.type, name));
    button.addEventListener("click", () => this.#retry(letter, button));
    const fill = (now) => {
      letter = now;
      writeName(name, letter.type);
      writeName(subject, letter.subject);
      write(said, reasonOf(letter));
      write(tries, `, after ${plural(letter.attempts, "attempt")}`);
      mark(subject, "title", letter.subject);
      mark(why, "title", reasonOf(letter));
      write(when, ago(Math.max(0, (Date.now() - Date.parse(letter.time)) / 1000)));
      const trying = letter.retrying || this.#asked.has(letter.id);
      button.disabled = trying;
      shown(button, this.#delivered);
      write(button, trying ? "Trying" : "Retry");
      mark(button, "aria-label", `${trying ? "Trying again" : "Retry"}: ${letter.type} of ${letter.subject}`);
    };
    return { node, fill };
  }

  async #retry(letter, button) {
    button.disabled = true;
    try {
      await call("POST", `${this.#path}/${encodeURIComponent(letter.id)}/retry`);
      this.#asked.add(letter.id);
      notice(`${letter.type} is sent to ${this.#destination} again.`);
    } catch (error) {
      button.disabled = false;
      notice(`It can't be tried again: ${error.message}.`, "bad");
    }
    this.#load();
  }

  #confirm() {
    const number = plural(this.#number, "dead letter");
    const go = element("button", { type: "button", class: "main" }, `Retry ${number}`);
    const back = element("button", { type: "button" }, "Cancel");
    back.addEventListener("click", () => sheet.close());
    go.addEventListener("click", () => {
      sheet.close();
      this.#retryAll();
    });
    const once = `Each is sent to ${this.#destination} once more, in its subject's order.`;
    const text = `${once} What is refused again stays here.`;
    sheet.open(`Retry ${number}?`, [element("p", {}, text)], [go, back]);
    go.focus();
  }

  async #retryAll() {
    this.#all.disabled = true;
    try {
      const { asked, retrying, more } = await call("POST", `${this.#path}/retry`, {});
      const already = retrying ? `; ${whole.format(retrying)} were being tried already` : "";
      const rest = more ? " There are more." : "";
      notice(`${plural(asked, "dead letter")} of ${this.#destination} asked for again${already}.${rest}`);
    } catch (error) {
      notice(`They can't be tried again: ${error.message}.`, "bad");
    }
    this.#all.disabled = false;
    this.#load();
  }
}

function reasonOf({ last_status: status, last_error: error }) {
  const told = status && !error.includes(String(status)) ? `${status} ${error}` : error;
  return capital(told.trim()) || "No answer";
}
