// The scores of a classifier: the largest ones, a search by name, and which of them is read, or which two.
import { make, short } from "./elements.js";

const LISTED = 10;

export class Scores {
  /** @param {import("./source.js").Described} about @param {() => void} changed */
  constructor(about, changed) {
    this.about = about;
    this.changed = changed;
    this.label = 0;
    this.probed = "one unit in this pixel"; // by a column
    /** @type {number|null} */
    this.minus = null; // the score that is taken off
    /** @type {Float32Array} */
    this.y0 = new Float32Array(about.output.at(-1) || 0);
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

  /** @param {Float32Array} y0 @param {boolean} keep  whether the same score is read as before */
  setScores(y0, keep = false) {
    this.y0 = y0;
    if (!keep) this.label = y0.indexOf(y0.reduce((a, b) => Math.max(a, b)));
    this.draw();
  }

  /** A column, or null for the scores themselves. @param {Float32Array|null} column */
  show(column) {
    this.column = column;
    this.draw();
  }

  /** Read a score, or what it is above another. @param {number} label @param {number|null} minus */
  choose(label, minus = this.minus) {
    this.label = label;
    this.minus = minus === label ? null : minus;
    this.draw();
    this.changed();
  }

  /** The scores that are read. @returns {number[]} */
  get at() {
    return this.minus === null ? [this.label] : [this.label, this.minus];
  }

  /** @returns {import("./source.js").Probe} */
  get probe() {
    return this.at.map((label, i) => [label, i ? -1 : 1]);
  }

  /** @param {number[]} at */
  said([label, minus]) {
    return minus === undefined ? `score ${this.name(label)}` : `score ${this.name(label)} minus score ${this.name(minus)}`;
  }

  draw() {
    const values = this.column || this.y0;
    const wanted = this.search.value.toLowerCase();
    const labels = Array.from(values.keys()).filter((i) => this.name(i).toLowerCase().includes(wanted));
    labels.sort((a, b) => (this.column ? Math.abs(values[b]) - Math.abs(values[a]) : values[b] - values[a]));
    const listed = labels.slice(0, LISTED);
    if (!wanted) listed.push(...this.at.filter((label) => !listed.includes(label)));
    const size = listed.reduce((most, i) => Math.max(most, Math.abs(values[i])), 0) || 1;
    this.title.textContent = this.column ? `the column: what ${this.probed} adds to each score` : `scores y0: ${this.said(this.at)} is read; “−” takes another off`;
    this.list.replaceChildren(...listed.map((i) => this.row(i, values[i], size)));
  }

  /** @param {number} label @param {number} value @param {number} size */
  row(label, value, size) {
    const bar = make("span", { class: value < 0 ? "bar below" : "bar" });
    bar.style.width = `${(50 * Math.abs(value)) / size}%`;
    const inside = [make("span", { class: "name" }, [this.name(label)]), make("span", { class: "track" }, [bar]), make("span", { class: "value" }, [short(value)])];
    const pressed = String(label === this.label);
    const read = make("button", { type: "button", class: "read", "aria-pressed": pressed, "data-label": label, click: () => this.choose(label) }, inside);
    const off = label === this.minus;
    const title = off ? "take no score off" : `the score that is read, minus ${this.name(label)}`;
    const minus = make("button", { type: "button", class: "minus", "aria-pressed": String(off), "aria-label": title, title, "data-minus": label, click: () => this.choose(this.label, off ? null : label) }, ["−"]);
    if (label === this.label) minus.disabled = true;
    return make("li", {}, [read, minus]);
  }
}
