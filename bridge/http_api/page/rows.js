"use strict";
// Tables whose rows stay the same elements while what they show changes, so that focus and selection stay too; and the
// panel of sources or destinations: what needs somebody first, the rest folded, never more rows than a browser likes.

const MOST_ROWS = 200;
const FEW = 12; // so many are all shown, and need no filter
const SETTLED = 15_000; // ms that a row stays where it was raised to after it is well again: nothing jumps up and down

/** The rows of a table, or of its body, by key; `make(item)` gives {node, fill(item)}. */
class KeyedRows {
  #body;
  #make;
  #rows = new Map();

  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  /** Show these items, in this order. */
  show(items, keyOf) {
    const focused = this.#body.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Map();
    const wanted = new Set(items.map(keyOf));
    for (const [key, row] of this.#rows) if (!wanted.has(key)) row.node.remove();
    let next = this.#body.tHead ? this.#body.tHead.nextElementSibling : this.#body.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = this.#rows.get(key) ?? this.#make(item);
      kept.set(key, row);
      row.fill(item);
      if (row.node === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.node, next);
    }
    this.#rows = kept;
    // a row that was moved has lost it
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  row(key) {
    return this.#rows.get(key)?.node;
  }
}

/** Sources or destinations. `make(view)` gives a row, `searched(view)` the texts that the filter looks at. */
class Panel {
  #section;
  #rows;
  #searched;
  #open = false;
  #raised = new Map();
  #views = [];

  constructor(section, make, searched) {
    this.#section = byId(section);
    this.#searched = searched;
    this.#rows = new KeyedRows(this.#find("table"), make);
    this.#find(".filter").addEventListener("input", () => this.#render());
    this.#find(".fold").addEventListener("click", () => {
      this.#open = !this.#open;
      this.#render();
    });
  }

  #find(selector) {
    return this.#section.querySelector(selector);
  }

  show(views, now) {
    const rankOf = (view) => this.#rankOf(view, now);
    const ranked = views.map((view) => [rankOf(view), view]);
    ranked.sort(([one, { id }], [other, { id: otherId }]) => one - other || (id < otherId ? -1 : 1));
    this.#views = ranked;
    const here = new Set(views.map(({ id }) => id));
    for (const id of this.#raised.keys()) if (!here.has(id)) this.#raised.delete(id);
    this.#render();
  }

  /** Scroll to a row, and put the focus on its name. */
  go(id) {
    if (!this.#rows.row(id)) {
      this.#find(".filter").value = id;
      this.#render();
    }
    const row = this.#rows.row(id);
    if (!row) return;
    row.scrollIntoView({
      block: "center",
      behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
    });
    row.querySelector("button").focus({ preventScroll: true });
  }

  #rankOf(view, now) {
    const rank = RANK[levelOf(this.#section.id, view)];
    const raised = this.#raised.get(view.id);
    if (raised && rank > raised.rank && now < raised.until) return raised.rank;
    if (rank < RANK.ok) this.#raised.set(view.id, { rank, until: now + SETTLED });
    else this.#raised.delete(view.id);
    return rank;
  }

  #render() {
    const all = this.#views;
    const words = this.#find(".filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = ([, view]) => {
      const text = this.#searched(view).join("\n").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const folds = all.length > FEW && words.length === 0;
    const urgent = all.filter(([rank]) => rank < RANK.ok);
    const found = words.length ? all.filter(matches) : folds && !this.#open ? urgent : all;
    const visible = found.slice(0, MOST_ROWS).map(([, view]) => view);
    this.#rows.show(visible, ({ id }) => id);
    shown(this.#find(".filter"), all.length > FEW || words.length > 0);
    shown(this.#find("table"), visible.length > 0);
    shown(this.#find(".fold"), folds && urgent.length < all.length);
    shown(this.#find(".cut"), found.length > visible.length || (words.length > 0 && found.length === 0));
    this.#tell(all, urgent.length, found.length);
  }

  /** Say how many there are, and how many of them are shown. */
  #tell(all, urgent, found) {
    write(this.#find(".count"), all.length ? whole.format(all.length) : "");
    write(this.#find(".tally"), tally(this.#section.id, all));
    shown(this.#find(".empty"), all.length === 0);
    const others = whole.format(all.length - urgent);
    const show = urgent ? `Show ${others} others` : `Show all ${others}`;
    mark(this.#find(".fold"), "aria-expanded", String(this.#open));
    write(this.#find(".fold"), this.#open ? "Fold those that need nobody" : show);
    const first = `The first ${MOST_ROWS} of ${whole.format(found)}. A filter finds the others.`;
    write(this.#find(".cut"), found ? first : "Nothing of that name, kind or state.");
  }
}

/** "1,996 connected, 3 reconnecting, 1 refused"; nothing of a few. */
function tally(section, ranked) {
  if (ranked.length <= FEW) return "";
  const numbers = new Map();
  for (const [, view] of ranked) {
    const [, word] = stateOf(section, view);
    numbers.set(word, (numbers.get(word) ?? 0) + 1);
  }
  const sorted = [...numbers].sort(([, one], [, other]) => other - one);
  return sorted.map(([word, number]) => `${whole.format(number)} ${word.toLowerCase()}`).join(", ");
}
