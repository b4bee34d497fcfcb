// The scores of a classifier: the largest ones, a search by name, and which of them is read.
import { make, short } from "./elements.js";

const LISTED = 10;

export class Scores {
  /** @param {import("./source.js").Described} about @param {() => void} changed */
  constructor(about, changed) {
    this.about = about;
    this.changed = changed;
    this.label = 0;
    /** @type {Float32Array} */
    this.y0 = new Float32Array(about.output[0]);
    /** @type {Float32Array|null} */
    this.column = null;
    this.list = make("ul", { class: "scores" });
    this.search = make("input", { type: "search", placeholder: "find a class", "aria-label": "find a class by name", input: () => this.draw() });
    this.title = make("p", { class: "note" });
    this.element = make("div", { class: "classes" }, [this.title, this.search, this.list]);
  }

  /** @param {number} label */
  name(label) {
    return this.about.names ? this.about.names[label] : `class ${label}`;
  }

  /** @param {Float32Array} y0 */
  setScores(y0) {
    this.y0 = y0;
    this.label = y0.indexOf(y0.reduce((a, b) => Math.max(a, b)));
    this.draw();
  }

  /** A column, or null for the scores themselves. @param {Float32Array|null} column */
  show(column) {
    this.column = column;
    this.draw();
  }

  /** @param {number} label */
  choose(label) {
    this.label = label;
    this.draw();
    this.changed();
  }

  draw() {
    const values = this.column || this.y0;
    const wanted = this.search.value.toLowerCase();
    const labels = Array.from(values.keys()).filter((i) => this.name(i).toLowerCase().includes(wanted));
    labels.sort((a, b) => (this.column ? Math.abs(values[b]) - Math.abs(values[a]) : values[b] - values[a]));
    const listed = labels.slice(0, LISTED);
    if (!wanted && !listed.includes(this.label)) listed.push(this.label);
    const size = listed.reduce((most, i) => Math.max(most, Math.abs(values[i])), 0) || 1;
    this.title.textContent = this.column ? "the column: what one unit in this pixel adds to each score" : "scores y0; choose the one that is read";
    this.list.replaceChildren(...listed.map((i) => this.row(i, values[i], size)));
  }

  /** @param {number} label @param {number} value @param {number} size */
  row(label, value, size) {
    const bar = make("span", { class: value < 0 ? "bar below" : "bar" });
    bar.style.width = `${(50 * Math.abs(value)) / size}%`;
    const inside = [make("span", { class: "name" }, [this.name(label)]), make("span", { class: "track" }, [bar]), make("span", { class: "value" }, [short(value)])];
    const pressed = String(label === this.label);
    return make("li", {}, [make("button", { type: "button", "aria-pressed": pressed, "data-label": label, click: () => this.choose(label) }, inside)]);
  }
}
