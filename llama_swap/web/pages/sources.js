// The list of sources beside the lines.  A source is named as the proxy names it; "" stands for all together.

const FIXED = new Map([
  ["", "Everything"],
  ["proxy", "Proxy"],
  ["upstream", "All models"],
]);
const HUES = 8;

/** What people call a source. */
export const titleOf = (name) => FIXED.get(name) ?? name;

export class SourceList {
  names = [...FIXED.keys()];

  /** `onChoose(name)` is told of a click. */
  constructor(element, onChoose) {
    this.element = element;
    this.onChoose = onChoose;
  }

  /** Show these (and the chosen one in any case); return whether the hues of some may be new. */
  show(names, chosen) {
    const wanted = [...new Set([...FIXED.keys(), ...names, chosen])];
    const changed = wanted.join("\n") !== this.#buttons.map((button) => button.dataset.source).join("\n");
    if (changed) {
      this.names = wanted;
      const focused = document.activeElement.dataset.source;
      this.element.replaceChildren(...wanted.map((name) => this.#item(name)));
      this.#buttons.find((button) => button.dataset.source === focused)?.focus();
    }
    for (const button of this.#buttons) {
      if (button.dataset.source === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    return changed;
  }

  /** A number for a model's colour, "none" for what is not a model. */
  hue(name) {
    const index = this.names.indexOf(name) - FIXED.size;
    return index < 0 ? "none" : String(index % HUES);
  }

  get #buttons() {
    return [...this.element.querySelectorAll("button")];
  }

  #item(name) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = titleOf(name);
    button.dataset.source = name;
    button.dataset.hue = this.hue(name);
    const label = document.createElement("span");
    label.textContent = titleOf(name);
    button.append(document.createElement("i"), label);
    button.addEventListener("click", () => this.onChoose(name));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}
