"use strict";
// Elements of the page and what is written into them. Text only ever goes in as text: nothing here makes markup of it,
// and nothing of it is unseen. Whatever the page shows is written here.

const SVG = "http://www.w3.org/2000/svg";

/** The one element of this id. */
const byId = (id) => document.getElementById(id);

// Characters that can't be seen and change what is: they turn the direction, hide, or end lines. Those that scripts and
// emoji are joined with (U+200C, U+200D) stay, and so does white space.
const UNSEEN = /(?![\t\n\r\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** The text with a sign in the place of each character that would falsify it; what is no text as it is. */
function printable(text) {
  return typeof text === "string" ? text.replace(UNSEEN, "\ufffd") : text;
}

/** A new element: its properties (`class` among them), attributes where their name has a hyphen, and children. */
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.includes("-")) made.setAttribute(key, printable(value));
    else made[key] = printable(value);
  }
  made.append(...children.map(printable));
  return made;
}

/** Write a text, where it is another one: an unchanged node costs nothing and keeps a reader's selection. */
function write(node, text) {
  const seen = printable(text);
  if (node.textContent !== seen) node.textContent = seen;
}

const MOST_BROKEN = 200; // characters of a name that is broken with care

/** As `write`, of a name: where it is broken, that is after one of its signs if it can be. */
function writeName(node, name) {
  const seen = printable(name);
  if (node.textContent === seen) return;
  const parts = seen.length > MOST_BROKEN ? [seen] : seen.split(/(?<=[._:/-])/);
  node.replaceChildren(...parts.flatMap((part) => [part, element("wbr")]));
}

/** An element that holds a name; a long one in two lines, and whole where it is pointed at. */
function named(tag, properties, name) {
  const made = element(tag, { ...properties, title: name });
  writeName(made, name);
  return made;
}

/** Set or drop an attribute, where it changes. */
function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== printable(value)) node.setAttribute(name, printable(value));
}

/** Show or hide. */
function shown(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** The sign of a level, which differs in shape as well as in colour; a word always stands beside it. */
function sign(level = "rest") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  setSign(svg, level);
  return svg;
}

function setSign(svg, level) {
  mark(svg, "data-level", level);
  mark(svg.firstElementChild, "href", `#${level}`);
}

/** A rate over the last two minutes: what it was at moments, in ms; null where it was not known. */
class Rates {
  static WINDOW = 120_000;
  #points = [];

  add(now, value) {
    const old = this.#points.findIndex(([time]) => time >= now - Rates.WINDOW);
    if (old > 1) this.#points.splice(0, old - 1); // the last one before the window says how it begins
    this.#points.push([now, value]);
  }

  /** [line, area]: two paths of a sparkline so many units wide and high. A rate holds until the next one is known. */
  paths(now, width, height) {
    const most = Math.max(1, ...this.#points.map(([, value]) => value ?? 0));
    const x = (time) => (Math.max(0, 1 - (now - time) / Rates.WINDOW) * width).toFixed(1);
    const y = (value) => (height - 1 - (value / most) * (height - 3)).toFixed(1);
    let line = "";
    let area = "";
    this.#points.forEach(([time, value], at) => {
      if (value === null) return;
      const [until] = this.#points[at + 1] ?? [now];
      const joined = at > 0 && this.#points[at - 1][1] !== null;
      line += `${joined ? "L" : "M"}${x(time)} ${y(value)}H${x(until)}`;
      area += `M${x(time)} ${height}V${y(value)}H${x(until)}V${height}z`;
    });
    return [line, area];
  }
}

/** An empty sparkline for a row. */
function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  mark(svg, "class", "spark");
  mark(svg, "viewBox", "0 0 56 18");
  mark(svg, "preserveAspectRatio", "none");
  mark(svg, "aria-hidden", "true");
  for (const name of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

function drawSpark(svg, history, now) {
  const { width, height } = svg.viewBox.baseVal;
  const [line, area] = history.paths(now, width, height);
  mark(svg.querySelector(".line"), "d", line);
  mark(svg.querySelector(".area"), "d", area);
}

/** Say what came of something the reader did, for some seconds and to screen readers. */
function notice(text, level = "ok") {
  const place = byId("notice");
  place.replaceChildren(sign(level), element("span", {}, text));
  place.dataset.level = level;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => place.replaceChildren(), level === "bad" ? 15_000 : 7_000);
}

/** The one dialog of the page: something in full. Escape closes it, and the focus goes back to where it was. */
const sheet = {
  opener: null,

  open(title, body, acts = []) {
    this.opener = document.activeElement;
    write(byId("sheet-title"), title);
    byId("sheet-body").replaceChildren(...body);
    byId("sheet-acts").replaceChildren(...acts);
    if (!byId("sheet").open) byId("sheet").showModal();
    byId("sheet-body").scrollTop = 0;
  },

  close() {
    byId("sheet").close();
  },

  get isOpen() {
    return byId("sheet").open;
  },

  start() {
    byId("sheet-close").addEventListener("click", () => this.close());
    byId("sheet").addEventListener("click", (event) => event.target === byId("sheet") && this.close()); // beside it
    byId("sheet").addEventListener("close", () => {
      byId("sheet-body").replaceChildren();
      (this.opener?.isConnected ? this.opener : byId("main")).focus();
    });
  },
};

/** A list of names and values; what is null, undefined or empty is left out. */
function definitions(pairs) {
  const found = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    {},
    ...found.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}
