"use strict";
// Figures as people read them: numbers, rates, spans of time, moments. Pure; knows nothing of the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const NONE = "\u2013"; // an en dash: nothing to say

/** "9,999", "12.3 k", "4.0 M": exact while that is short. */
function count(number) {
  if (number === null || number === undefined) return NONE;
  if (number < 10_000) return whole.format(number);
  return scaled(number, 1000, ["", "k", "M", "G", "T"]);
}

/** "2.1 GB" */
function bytes(number) {
  return scaled(number, 1000, ["B", "kB", "MB", "GB", "TB"]);
}

function scaled(number, step, units) {
  let at = 0;
  // 999.95 would be rounded to 1,000 of the smaller unit
  while (number >= step * 0.99995 && at < units.length - 1) {
    number /= step;
    at += 1;
  }
  return `${(at > 0 && number < 99.95 ? tenths : whole).format(number)} ${units[at]}`.trimEnd();
}

/** Events a second: "0.4/s", "120/s", "12.3 k/s". */
function rate(perSecond) {
  if (perSecond >= 1000) return `${scaled(perSecond, 1000, ["", "k", "M"])}/s`;
  if (perSecond > 0 && perSecond < 0.05) return "<0.1/s";
  return `${(perSecond > 0 && perSecond < 9.95 ? tenths : whole).format(perSecond)}/s`;
}

const SPANS = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A span of time by its largest unit, with the next one below where that matters: "0.4 s", "12 s", "4 min", "5 h 12 min". */
function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.95) return seconds < 0.0005 ? "0 s" : `${Math.max(1, Math.round(seconds * 1000))} ms`;
  const at = SPANS.findIndex(([size]) => seconds >= size);
  const [size, unit] = SPANS[at === -1 ? SPANS.length - 1 : at];
  if (unit === "s") return `${Math.round(seconds)} s`;
  const most = Math.floor(seconds / size);
  const [lesser, lesserUnit] = SPANS[at + 1];
  const left = Math.floor((seconds - most * size) / lesser);
  return most < 10 && left > 0 && unit !== "min" ? `${most} ${unit} ${left} ${lesserUnit}` : `${most} ${unit}`;
}

/** "12 s ago"; for what is younger than a second "just now". */
function ago(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  return seconds < 1 ? "just now" : `${span(seconds)} ago`;
}

const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** "14:03:07", in the reader's time zone. */
function clock(milliseconds) {
  return clockTime.format(milliseconds);
}

/** "22 Nov 2026, 14:03:07" of an RFC 3339 text or milliseconds; a text that is no time as it is. */
function moment(when) {
  const time = new Date(when);
  return Number.isNaN(time.getTime()) ? String(when) : dayTime.format(time);
}

/** "one source", "3 sources" without the article: plural(1, "source") is "1 source". */
function plural(number, noun) {
  return `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** The beginning of a long text. */
function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1).trimEnd()}\u2026` : text;
}

/** When an entry came into the log, ms since 1970: the middle part of "<partition>-<milliseconds>-<number>". */
function entryTime(entry) {
  return Number(entry.split("-").at(-2));
}
