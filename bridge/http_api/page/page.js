"use strict";
// The page as a whole: its summary, what it does while no bridge answers, the token, light and dark.

const TICK = 1_000; // ms between two looks of the page at itself: ages go on, the list of events moves
const COLOURS = { ok: "%231a7f45", watch: "%23b26b00", bad: "%23c4262e", rest: "%237a838f" };
const SHAPES = {
  ok: "<circle cx='8' cy='8' r='7'/>",
  watch: "<path d='M8 1l7 13H1z'/>",
  bad: "<rect x='1' y='1' width='14' height='14' rx='3'/>",
  rest: "<circle cx='8' cy='8' r='7'/>",
};

const page = {
  overview: null,
  received: 0,
  link: "connecting",
  lostSince: 0,
  reason: "",
  nextTry: 0,
  since: new Since(),
  due: false,

  got(overview) {
    const now = Date.now();
    const [before, version] = [this.overview?.bridge?.version, overview.bridge?.version];
    if (before && version !== before) notice(`The bridge is version ${version} now: reload this page.`, "watch");
    mark(document.body, "data-figures", "");
    this.overview = overview;
    this.received = now;
    this.since.note(overview, now);
    remember(overview, now);
    this.soon();
  },

  /** A state of the connection, with a reason and the ms until the next try. */
  became(link, reason, wait) {
    const now = Date.now();
    if (link !== "live" && this.link === "live") forgetRates(now);
    if (link !== this.link) this.lostSince = this.link === "live" ? this.received : now;
    if (link === "locked" && token.value) {
      token.value = "";
      write(byId("token-error"), "The bridge does not accept this token.");
    }
    this.nextTry = now + wait;
    this.reason = reason;
    this.link = link;
    this.soon();
  },

  /** Show it with the next frame; of a hidden tab only the title is seen, and no frame is drawn. */
  soon() {
    if (document.hidden) this.showTop(Date.now());
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.show(Date.now());
    });
  },

  show(now) {
    mark(document.body, "data-link", this.link);
    const asking = byId("locked").hidden && this.link === "locked";
    shown(byId("locked"), this.link === "locked");
    if (asking) byId("token").focus();
    shown(byId("board"), this.link !== "locked");
    shown(byId("forget"), token.value !== "" && this.link !== "locked");
    clocked.elapsed = this.link === "live" ? (now - this.received) / 1000 : 0;
    this.showTop(now);
    if (this.overview && this.link !== "locked") {
      showFlow(this.overview, this.link === "live" ? now : this.received);
      dead.show(this.overview.destinations);
    }
    events.show();
  },

  showTop(now) {
    this.showLink(now);
    if (this.overview && this.link === "live") this.showSummary(now);
  },

  showLink(now) {
    const words = {
      live: "Live",
      blind: "No figures",
      lost: "Not connected",
      connecting: "Connecting",
      locked: "Token needed",
    };
    write(byId("link"), words[this.link]);
    setSign(document.querySelector(".link .mark"), { live: "ok", blind: "bad", lost: "bad" }[this.link] ?? "rest");
    shown(byId("reconnect"), this.link === "lost");
    if (this.link !== "lost" && this.link !== "blind") return;
    const wait = Math.ceil((this.nextTry - now) / 1000);
    const what = this.link === "lost" ? "Not connected" : "The bridge can't read its log";
    const since = `${what} since ${clock(this.lostSince)}`;
    const last = this.overview ? " Below are the last figures." : "";
    const next = this.link === "blind" ? "" : wait > 0 ? ` Next try in ${wait} s.` : " Trying.";
    this.showLevel("bad");
    sentence(byId("sentence"), [since]);
    sentence(byId("besides"), [`${capital(this.reason)}.${last}${next}`]);
    this.say(`${since}: ${this.reason}.${last}`);
    this.showTitle(this.link === "lost" ? "Not connected" : "No figures", "rest");
  },

  showLevel(level) {
    mark(byId("verdict"), "data-level", level);
    setSign(document.querySelector("#verdict .mark"), level);
  },

  /** Of the browser's tab: what is to be known, and a sign. */
  showTitle(text, level) {
    const instance = this.overview?.bridge?.instance;
    document.title = printable([text, instance, "runbridge"].filter(Boolean).join(" \u00b7 "));
    const head = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${COLOURS[level]}'>`;
    mark(byId("icon"), "href", `data:image/svg+xml,${head}${SHAPES[level]}</svg>`);
  },

  showSummary(now) {
    const { bridge } = this.overview;
    const found = concerns(this.overview, this.since, now);
    const { level, parts, besides, spoken } = verdict(this.overview, found);
    this.showLevel(level);
    sentence(byId("sentence"), parts);
    sentence(byId("besides"), besides);
    this.say(spoken);
    const needed = found.filter((one) => one.level === "bad").length;
    this.showTitle(needed ? `${needed} to do` : "", level);
    write(byId("instance"), bridge?.instance || NONE);
    write(byId("version"), bridge?.version || NONE);
    write(byId("uptime"), longSpan(clocked.age(bridge?.uptime_seconds)));
    write(byId("redis"), this.overview.redis);
  },

  /** To screen readers, once for each change. */
  say(text) {
    write(byId("spoken"), text);
  },
};

/** Write a sentence whose concerns are buttons that lead to their rows, or to their reasons. */
function sentence(place, parts) {
  const texts = parts.map((part) => (typeof part === "string" ? part : [part.name, part.because]));
  const key = printable(JSON.stringify(texts));
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const focused = place.contains(document.activeElement) ? document.activeElement.textContent : "";
  const nodes = parts.map((part) => {
    if (typeof part === "string") return element("span", {}, part);
    if (part.because) return element("span", { class: "because" }, " (", element("bdi", {}, part.because), ")");
    const button = element("button", { type: "button", class: "go" }, part.name);
    button.addEventListener("click", () => (part.section ? panels[part.section].go(part.id) : showConcern(part)));
    return button;
  });
  place.replaceChildren(...nodes);
  if (focused) nodes.find((node) => node.textContent === focused)?.focus?.();
}

/** A concern that has no row: its reason whole. */
function showConcern({ name, text, reason }) {
  sheet.open(capital(`${name} ${text}`), [element("p", {}, reason || "The bridge says no more of it.")]);
}

/** Light or dark: as the system has it, until it is chosen here. */
const theme = {
  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },

  show() {
    write(byId("theme"), this.dark ? "Light" : "Dark");
    mark(byId("theme"), "aria-label", `Change to ${this.dark ? "light" : "dark"} colours`);
  },

  start() {
    const chosen = localStorage.getItem("theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    byId("theme").addEventListener("click", () => {
      const now = this.dark ? "light" : "dark";
      document.documentElement.dataset.theme = now;
      localStorage.setItem("theme", now);
      this.show();
    });
    this.show();
  },
};

function start() {
  theme.start();
  sheet.start();
  events.start();
  const live = new Live({
    overview: (overview) => page.got(overview),
    entry: (entry) => events.add(entry),
    state: (link, reason, wait) => page.became(link, reason, wait),
  });
  byId("reconnect").addEventListener("click", () => live.now());
  byId("forget").addEventListener("click", () => {
    token.value = "";
    live.again();
  });
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.value = byId("token").value.trim();
    byId("token").value = "";
    write(byId("token-error"), "");
    live.again();
  });
  setInterval(() => page.soon(), TICK);
  live.run();
}

start();
