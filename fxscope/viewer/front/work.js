// The signs of work on a card: that it computes, for how long, and a smaller size where that is long.
import { duration, make } from "./elements.js";

const SLOW = 3000; // milliseconds of a picture from which a smaller size is offered

/** @typedef {"row"|"column"} Mode */

export class Work {
  /** @param {import("./card.js").Card} card */
  constructor(card) {
    this.card = card;
    this.status = make("span", { class: "status" });
    this.offered = make("p", { class: "note slow", role: "status" });
    /** @type {Record<string, number>} */
    this.took = {}; // milliseconds of the last row and column
  }

  /** A sign at once, and after a second how long it takes and took before; what is given ends it. @param {Mode} mode */
  begin(mode) {
    const { card, status } = this;
    const [began, turn] = [performance.now(), card.turn];
    const timer = setTimeout(() => card.element.classList.add("busy"), 80);
    const ticks = setInterval(() => {
      const gone = performance.now() - began;
      if (gone < 1000 || turn !== card.turn) return;
      const before = this.took[mode];
      status.textContent = `${mode}: ${Math.round(gone / 1000)} s${before ? ` of about ${duration(before)}` : ""} …`;
    }, 250);
    return () => {
      clearTimeout(timer);
      clearInterval(ticks);
    };
  }

  /** @param {Mode} mode @param {import("./source.js").Filter} found */
  done(mode, { ms, again }) {
    this.status.textContent = again ? "kept" : `${mode} in ${duration(ms)}`;
    if (again) return;
    this.took[mode] = ms;
    if (ms >= SLOW) this.offer(ms);
  }

  /** Where a picture takes seconds, offer the same photograph at a smaller size. @param {number} ms */
  offer(ms) {
    const { about, app } = this.card;
    if (about.kind !== "images" || about.reduced) return;
    const [, height, width] = about.input;
    const smaller = app.smaller();
    const button = smaller && make("button", { type: "button", click: smaller.open }, [`Show ${smaller.name}`]);
    this.offered.replaceChildren(`A picture takes ${duration(ms)} here at ${width} x ${height} pixels. `, button || "A smaller one is faster: --size, or --smaller for a page that has both.");
  }
}
