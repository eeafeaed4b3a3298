"use strict";
// JSON laid out for reading. Its tokens stay as they are: a number of 20 digits keeps them, which JSON.parse would not.

const MOST_SHOWN = 200_000; // characters; a browser lays out more of them only slowly

/** The text as nodes, indented and coloured; as it is where it is no JSON. */
function laidOut(text) {
  try {
    JSON.parse(text);
  } catch {
    return [text.slice(0, MOST_SHOWN)];
  }
  const nodes = [];
  let depth = 0;
  let plain = "";
  const tokens = text.slice(0, MOST_SHOWN).match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  tokens.forEach((token, at) => {
    const next = tokens[at + 1];
    if ("{[".includes(token)) {
      depth += 1;
      plain += token + ("}]".includes(next) ? "" : newLine(depth));
    } else if ("}]".includes(token)) {
      depth -= 1;
      plain += ("{[".includes(tokens[at - 1]) ? "" : newLine(depth)) + token;
    } else if (token === ",") plain += token + newLine(depth);
    else if (token === ":") plain += ": ";
    else {
      nodes.push(plain, element("span", { class: kindOf(token, next) }, token));
      plain = "";
    }
  });
  if (text.length > MOST_SHOWN) plain += `\n\u2026 and ${count(text.length - MOST_SHOWN)} characters more`;
  return [...nodes, plain];
}

function newLine(depth) {
  return `\n${"  ".repeat(Math.min(depth, 40))}`;
}

function kindOf(token, next) {
  if (token.startsWith('"')) return next === ":" ? "key" : "text";
  return /^[-\d]/.test(token) ? "figure" : "word";
}
