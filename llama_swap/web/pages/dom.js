// Elements without markup: whatever comes from outside goes in as text.

export const $ = (id) => document.getElementById(id);

/** Return a new element; of its properties, those with a dash in their name are attributes.  Texts stay texts. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return an icon of index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Fill a place with what a <template> of index.html holds. */
export function fill(place, template) {
  place.replaceChildren($(template).content.cloneNode(true));
}

/** Return an entry for a list of class "details": [] if nothing is known, broad if the value is code. */
export function fact([title, value, isCode]) {
  if (value === "" || value === undefined || value === null) return [];
  const shown = isCode ? make("code", {}, value) : String(value);
  return [make("div", { className: isCode ? "broad" : "" }, make("dt", {}, title), make("dd", {}, shown))];
}

/** Change a text only if it is another one, so that selections and screen readers are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

export const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

/** The children of an element, one for each of some items: made once, updated in place, and in the order of the items. */
export class Rows {
  #rows = new Map();

  /** `makeRow(item)` returns {element, update(item)}; `keyOf(item)` tells items apart. */
  constructor(container, keyOf, makeRow) {
    this.container = container;
    this.keyOf = keyOf;
    this.makeRow = makeRow;
  }

  show(items) {
    const wanted = new Map(items.map((item) => [this.keyOf(item), item]));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    let cursor = this.container.firstElementChild;
    for (const [key, item] of wanted) {
      let row = this.#rows.get(key);
      if (!row) this.#rows.set(key, (row = this.makeRow(item)));
      row.update(item);
      if (row.element === cursor) cursor = cursor.nextElementSibling;
      else this.container.insertBefore(row.element, cursor);
    }
  }
}
