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

const SPANS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** A span of time by its largest unit: "240 ms", "12 s", "4 min", "5 h". */
function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  const [size, unit] = SPANS.find(([least]) => seconds >= least) ?? SPANS.at(-1);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** As `span`, with the next smaller unit from an hour on: "3 d 4 h". */
function longSpan(seconds) {
  const at = SPANS.findIndex(([least]) => seconds >= least);
  if (at === -1 || at > 1) return span(seconds);
  const [[size, unit], [lesser, lesserUnit]] = SPANS.slice(at);
  return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / lesser)} ${lesserUnit}`;
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

/** The beginning of a long text, up to the end of a word where one ends near. */
function shortened(text, most) {
  if (text.length <= most) return text;
  const cut = text.slice(0, most - 1);
  return `${cut.replace(/\s+\S{0,12}$/, "") || cut}\u2026`;
}

/** When an entry came into the log, ms since 1970: the middle part of "<partition>-<milliseconds>-<number>". */
function entryTime(entry) {
  return Number(entry.split("-").at(-2));
}
