// One network: its photograph with the filter over it, the filter alone, its output, and the law.
import { coloured, photographed, scaled, SCALES } from "./colours.js";
import { make, short, signed } from "./elements.js";
import { ballot, bars, strip } from "./extras.js";
import { boxOf, centreOf, energyWithin, inner, largest, outputAt, planeOf, reachOf, read, times, within } from "./filters.js";
import { Legend, plotEnergy } from "./legend.js";
import { Picture } from "./picture.js";
import { Scores } from "./scores.js";
import { Work } from "./work.js";

export const TOLERANCE = 1e-3; // of the law, in float32, relative to the largest output

/** @typedef {import("./source.js").Source} Source */

/**
 * What all networks show.
 * @typedef {Object} Wanted
 * @property {"row"|"column"} mode
 * @property {{x: number, y: number}} place  shares of the width and height of the photograph
 * @property {Array<{x: number, y: number}>|null} region  two corners, where rows of several outputs are summed
 * @property {string} channel   "all" or the number of the channel that is probed
 * @property {string} shown     "sum", "strongest" or the number of the channel that is drawn
 * @property {"filter"|"times"} quantity
 * @property {import("./colours.js").Scale} scale
 * @property {number} opacity
 * @property {boolean} box
 * @property {boolean} shared   whether all networks have one scale
 * @property {"light"|"dark"} theme
 * @property {import("./picture.js").View} view
 */

export class Card {
  /**
   * @param {Source} source
   * @param {{wanted: Wanted, held: boolean, moved: (place: {x: number, y: number}) => void, drawn: (card: Card) => void, limit: () => number, smaller: () => {name: string, open: () => void}|null}} app
   */
  constructor(source, app) {
    this.source = source;
    this.app = app;
    this.about = this.told(source.describe());
    const { about } = this;
    /** @type {Float32Array|null} */
    this.x0 = null;
    /** @type {Float32Array|null} */
    this.y0 = null;
    /** @type {Float32Array|null} */
    this.r = null;
    /** @type {{values: Float32Array, probe: import("./source.js").Probe, mode: string, at: number[], ms: number}|null} */
    this.filter = null;
    this.turn = 0; // of what is wanted, and of what is shown
    this.shown = 0;
    this.sentence = "";
    this.images = about.kind === "images";
    const [, height, width] = about.input;
    const [, tall, wide] = this.images ? about.output : about.input;
    this.photo = this.picture("the photograph and the filter over it", height, width);
    this.alone = this.picture("the filter alone", height, width);
    this.output = this.images ? this.picture("the network's output", tall, wide) : null;
    this.beyond = this.images ? this.picture("the filter alone, in the output", tall, wide) : null;
    this.scores = this.images ? null : new Scores(about, () => this.update());
    this.law = make("p", { class: "law" });
    this.legend = new Legend();
    this.energy = make("canvas", { class: "energy", role: "img" });
    this.reach = make("figcaption");
    this.under = make("p", { class: "under" });
    this.work = new Work(this);
    this.element = this.build();
  }

  /** What is told of the network, as the pictures of a card take it. @param {import("./source.js").Described} about */
  told(about) {
    return about;
  }

  get shape() {
    return this.app.wanted.mode === "row" ? this.about.input : this.about.output;
  }

  /** @param {string} label @param {number} height @param {number} width */
  picture(label, height, width) {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    return new Picture(canvas, height, width, this.app.wanted.view);
  }

  build() {
    const { about } = this;
    const figures = make("div", { class: "figures" });
    /** @type {Record<string, HTMLElement>} */
    this.captions = {};
    for (const [key, picture] of Object.entries({ photo: this.photo, alone: this.alone, output: this.output, beyond: this.beyond })) {
      if (!picture) continue;
      this.captions[key] = make("figcaption");
      figures.append(make("figure", { "data-figure": key }, [picture.canvas, this.captions[key]]));
    }
    if (this.scores) figures.append(this.scores.element);
    const title = make("h2", {}, [about.name]);
    const note = make("p", { class: "note" }, [about.note]);
    const head = make("div", { class: "head" }, [title, this.work.status]);
    figures.append(make("div", { class: "info" }, [this.legend.element, make("figure", { class: "small" }, [this.energy, this.reach])]));
    const parts = [head, note, this.work.offered, this.law, figures, this.under, ...this.extras()];
    return make("section", { class: "card", "data-network": about.name, "aria-label": about.name }, parts);
  }

  /** What was computed when the page was made. */
  extras() {
    const found = [];
    if (this.about.contributions) found.push(bars("Contributions by layer", this.about.contributions));
    if (this.about.votes && this.scores) found.push(ballot(this.about.votes, this));
    if (this.about.svd) found.push(strip(this.about.svd, this.about.input, this.app.wanted));
    return found;
  }

  /** Run the network, and show what it gives. */
  async start() {
    try {
      const { x0, y0 } = await this.source.record();
      this.x0 = x0;
      this.y0 = y0;
      this.received(x0, y0);
      await this.update();
      this.r = await this.source.residual();
      this.draw();
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {Float32Array} x0 @param {Float32Array} y0 */
  received(x0, y0) {
    this.photo.setUnder(photographed(x0, this.about.input, this.about.shownInput));
    this.output?.setUnder(photographed(y0, this.about.output, this.about.shownOutput));
    this.scores?.setScores(y0);
  }

  /** @param {any} error */
  fail(error) {
    this.element.classList.remove("busy");
    this.law.textContent = `${this.about.name} does not run here: ${error.message || error}`;
    this.law.className = "law broken";
    this.law.setAttribute("role", "alert");
    this.element.dataset.failed = "yes";
  }

  /** The probe at the place that is wanted, and where it lies: in the output for a row, else in the input. */
  probed(wanted = this.app.wanted) {
    const { mode, place, channel, region } = wanted;
    const [, height, width] = this.about.input;
    const [y, x] = [place.y * height - 0.5, place.x * width - 0.5];
    if (mode === "column") return this.probeAt(this.about.input, [within(y, height), within(x, width)], channel, false);
    if (this.scores) return this.scores;
    const { alignment, output } = this.about;
    if (region) return this.probeIn(output, region, channel);
    return this.probeAt(output, outputAt(/** @type {any} */ (alignment), output, y, x), channel, true);
  }

  /** All outputs of a region, its corners as (top, left, bottom, right). @param {number[]} shape @param {Array<{x: number, y: number}>} region @param {string} channel */
  probeIn(shape, region, channel) {
    const [, height, width] = this.about.input;
    const [[top, left], [bottom, right]] = [Math.min, Math.max].map((of) => {
      const y = of(...region.map((corner) => corner.y * height - 0.5));
      return outputAt(/** @type {any} */ (this.about.alignment), shape, y, of(...region.map((corner) => corner.x * width - 0.5)));
    });
    /** @type {import("./source.js").Probe} */
    const probe = [];
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) probe.push(...this.probeAt(shape, [y, x], channel, true).probe);
    }
    return { probe, at: [top, left, bottom, right] };
  }

  /**
   * The place that is so many pixels from what is probed now: outputs for a row of an image, else inputs.
   * @param {number} dy
   * @param {number} dx
   */
  placeBeside(dy, dx) {
    const { mode, place } = this.app.wanted;
    const [, height, width] = this.about.input;
    const { alignment } = this.about;
    const inOutput = mode === "row" && alignment;
    const [y, x] = inOutput ? this.probed().at : [Math.floor(place.y * height), Math.floor(place.x * width)];
    const at = inOutput ? centreOf(alignment, y + dy, x + dx) : [y + dy, x + dx];
    return { y: (at[0] + 0.5) / height, x: (at[1] + 0.5) / width };
  }

  /** @param {number[]} shape @param {number[]} at @param {string} channel @param {boolean} mean */
  probeAt([channels, height, width], at, channel, mean) {
    const one = (/** @type {number} */ c) => (c * height + at[0]) * width + at[1];
    /** @type {import("./source.js").Probe} */
    let probe = [[one(Math.min(Number(channel), channels - 1)), 1]];
    if (channel === "all") probe = Array.from({ length: channels }, (_, c) => [one(c), mean ? 1 / channels : 1]);
    return { probe, at };
  }

  /** Compute what is wanted now. */
  async update() {
    if (!this.y0) return;
    const turn = ++this.turn;
    const { mode } = this.app.wanted;
    const { probe, at } = this.probed();
    const end = this.work.begin(mode);
    this.mark(at);
    try {
      const found = await (mode === "row" ? this.source.row(probe) : this.source.column(probe));
      if (found && turn === this.turn) {
        this.shown = turn;
        this.filter = { values: found.values, probe, mode, at, ms: found.ms };
        this.work.done(mode, found);
        this.draw();
        this.app.drawn(this);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      end();
      if (turn === this.turn) this.element.classList.remove("busy");
    }
  }

  /** The crosses follow at once, before anything is computed. @param {number[]} at */
  mark(at) {
    const { place } = this.app.wanted;
    const [, height, width] = this.about.input;
    const seen = [place.y * height - 0.5, place.x * width - 0.5];
    const row = this.app.wanted.mode === "row";
    this.photo.cross = this.scores && row ? null : row ? seen : at;
    if (this.output) {
      const { alignment, output } = this.about;
      this.output.cross = row ? (at.length === 4 ? null : at) : outputAt(/** @type {any} */ (alignment), output, at[0], at[1]);
    }
    this.photo.draw();
    this.output?.draw();
  }

  /** The filter as it is drawn: with x0 in it where that is asked for. */
  quantity() {
    if (!this.filter) return null;
    const { values, mode } = this.filter;
    return this.app.wanted.quantity === "times" && mode === "row" && this.x0 ? times(values, this.x0) : values;
  }

  /** The plane of the filter, one value a pixel; null for scores. */
  plane() {
    const values = this.quantity();
    if (!values || (this.scores && this.filter?.mode === "column")) return null;
    return planeOf(values, this.filter?.mode === "row" ? this.about.input : this.about.output, this.app.wanted.shown);
  }

  draw() {
    const { wanted } = this.app;
    if (!this.filter) return;
    const row = this.filter.mode === "row";
    const plane = this.plane();
    this.scores?.show(row ? null : this.filter.values);
    const own = plane ? largest(plane.values) : 0;
    const limit = wanted.shared ? this.app.limit() : own;
    this.element.dataset.mode = this.filter.mode;
    if (plane) this.paint(plane, limit, row);
    this.legend.draw(limit, wanted);
    this.say(plane, own);
    this.drawLaw();
  }

  /** @param {import("./filters.js").Plane} plane @param {number} limit @param {boolean} row */
  paint(plane, limit, row) {
    const { wanted } = this.app;
    const [over, alone] = row ? [this.photo, this.alone] : [this.output, this.beyond];
    const other = row ? this.output : this.photo;
    const box = wanted.box && this.filter ? boxOf(this.filter.values, row ? this.about.input : this.about.output) : null;
    other?.setOver(null);
    if (other) other.box = this.regionRead();
    for (const [picture, isOver] of /** @type {Array<[Picture, boolean]>} */ ([[over, true], [alone, false]])) {
      const pixels = coloured(plane.values, limit, wanted.scale, wanted.theme, isOver);
      if (isOver) picture.setOver(pixels);
      else picture.setUnder(pixels);
      picture.opacity = isOver ? wanted.opacity : 1;
      picture.box = box;
    }
    for (const each of [this.photo, this.alone, this.output, this.beyond]) each?.draw();
  }

  /** The box of the outputs whose rows are summed. @returns {import("./filters.js").Box|null} */
  regionRead() {
    const { at, mode } = /** @type {{at: number[], mode: string}} */ (this.filter);
    return mode === "row" && at.length === 4 ? { top: at[0], left: at[1], bottom: at[2], right: at[3], count: 0 } : null;
  }

  /** The sentence of the picture, and the curve of its energy. @param {import("./filters.js").Plane|null} plane @param {number} own */
  say(plane, own) {
    if (!this.filter) return;
    const { mode, at, values } = this.filter;
    const shape = mode === "row" ? this.about.input : this.about.output;
    this.sentence = `${this.about.name}: ${mode} of F for ${this.probeName(at, mode)}.`;
    if (plane) {
      const box = boxOf(values, shape);
      const reads = mode === "row" ? "reads" : "reaches";
      this.sentence += box
        ? ` It ${reads} ${box.bottom - box.top + 1} by ${box.right - box.left + 1} pixels; the largest value is ${short(own)}.`
        : " It is 0 everywhere.";
      this.sayEnergy(values, shape, mode);
    }
    this.label();
  }

  /** The lines of Python that compute a column of many places; null: those of the places themselves do. @returns {string[]|null} */
  columnLines() {
    return null;
  }

  /** @param {number[]} at @param {string} mode */
  probeName(at, mode) {
    if (mode === "column") return `input pixel (${at.join(", ")})`;
    if (this.scores) return this.scores.said(at);
    const first = `(${at[0]}, ${at[1]})`;
    return at.length === 4 ? `all output pixels from ${first} to (${at[2]}, ${at[3]}), summed` : `output pixel ${first}`;
  }

  /** @param {Float32Array} values @param {number[]} shape @param {string} mode */
  sayEnergy(values, shape, mode) {
    const cross = mode === "row" ? this.photo.cross : this.output?.cross;
    const [y, x] = cross || [(shape[1] - 1) / 2, (shape[2] - 1) / 2];
    const curve = energyWithin(values, shape, y, x);
    const reach = reachOf(curve);
    const text = reach < 0 ? "" : ` 90 % of its energy lies within ${reach} pixels${cross ? "" : " of the middle"}.`;
    this.sentence += text;
    const last = plotEnergy(this.energy, curve, reach);
    this.reach.textContent = `energy within 0 … ${last} pixels; 90 % in ${reach}`;
    this.energy.setAttribute("aria-label", `energy against distance:${text}`);
  }

  label() {
    const { mode } = this.app.wanted;
    const said = mode === "row" ? "row" : "column";
    const times = this.app.wanted.quantity === "times" && mode === "row" ? " · x0" : "";
    /** @type {Record<string, string>} */
    const texts = {
      photo: mode === "row" ? `photograph x0, ${said}${times} over it` : "photograph x0, with the pixel that is probed",
      alone: `the ${said}${times} alone: its receptive filter`,
      output: mode === "row" ? "output y0, with the pixel that is read" : "output y0, column over it",
      beyond: "the column alone: its projective filter",
    };
    for (const [key, caption] of Object.entries(this.captions || {})) caption.textContent = texts[key];
    for (const each of [this.photo, this.alone, this.output, this.beyond]) each?.canvas.setAttribute("aria-label", this.sentence);
  }

  /** <row, x0> + r = y0 of the row that is shown, as it is measured now. */
  measured() {
    return this.filter && this.filter.mode === "row" ? this.lawOf(this.filter.values, this.filter.probe) : null;
  }

  /** @param {Float32Array} row @param {import("./source.js").Probe} probe */
  lawOf(row, probe) {
    if (!this.r || !this.y0 || !this.x0) return null;
    const linear = inner(row, this.x0);
    const r = read(probe, this.r);
    const y0 = read(probe, this.y0);
    const error = Math.abs(linear + r - y0);
    return { linear, r, y0, error, relative: error / largest(this.y0) };
  }

  drawLaw() {
    const found = this.measured();
    if (this.filter?.mode === "column") {
      const sum = this.filter.values.reduce((a, b) => a + b, 0);
      this.law.textContent = `column: sum ${short(sum)}, largest ${short(largest(this.filter.values))}; ${this.columnSaid()}`;
      this.law.className = "law";
      return;
    }
    if (!found) return void (this.law.textContent = "⟨row, x0⟩ + r = y0: r is being computed …");
    const holds = found.relative <= TOLERANCE;
    const sums = `⟨row, x0⟩ ${short(found.linear)} ${signed(found.r)} (r) = ${short(found.linear + found.r)}`;
    const read = this.scores && this.scores.at.length > 1 ? "difference of y0" : "y0";
    this.law.textContent = `${sums}; ${read} = ${short(found.y0)}: ${holds ? "holds" : "BROKEN"}, off by ${found.error.toExponential(1)}`;
    this.law.className = holds ? "law holds" : "law broken";
  }

  columnSaid() {
    return "one unit in this pixel adds it to the output";
  }

  /** The number under the cursor. @param {Picture} picture @param {number[]} at */
  readAt(picture, [y, x]) {
    const plane = this.plane();
    if (!plane || y < -0.5 || x < -0.5 || y > picture.height - 0.5 || x > picture.width - 0.5) return;
    const own = picture === this.alone || picture === this.photo ? "row" : "column";
    if (this.filter?.mode !== own) return;
    const [i, j] = [within(y, plane.height), within(x, plane.width)];
    const value = plane.values[i * plane.width + j];
    const size = largest(plane.values);
    this.under.textContent = `under the cursor: (${i}, ${j}) ${short(value)}, ${Math.round(100 * Math.abs(scaled(value, size, "linear")))} % of the largest; ${SCALES[this.app.wanted.scale]}`;
  }
}
