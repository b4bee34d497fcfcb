// A language model: its tokens, each coloured by what its embedding adds to the logit that is read.
import { Card } from "./card.js";
import { colour, coloured, scaled } from "./colours.js";
import { make, short, signed } from "./elements.js";
import { largest, planeOf } from "./filters.js";

export class TokenCard extends Card {
  /** The embeddings as one channel of T by D. @param {import("./source.js").Described} about */
  told(about) {
    return { ...about, input: [1, ...about.input] };
  }

  build() {
    const words = this.about.tokens || [];
    this.chips = words.map((word, t) => this.chip(word, t));
    this.rest = make("span", { class: "token rest" });
    this.strip = make("div", { class: "tokens", role: "group", "aria-label": "the tokens" }, [...this.chips, this.rest]);
    this.hint = make("p", { class: "note" });
    const element = super.build();
    element.classList.add("of-tokens");
    element.querySelector(".figures")?.before(this.hint, this.strip);
    this.photo.canvas.closest("figure")?.remove();
    if (this.scores) {
      this.scores.probed = "the embedding of this token";
      this.scores.search.placeholder = "find a score";
    }
    return element;
  }

  /** A token: hovered it is the place, and a click holds it. @param {string} word @param {number} t */
  chip(word, t) {
    const go = () => this.app.moved(this.placeOf(t));
    const hover = (/** @type {PointerEvent} */ event) => event.pointerType === "mouse" && !this.app.held && go();
    const hold = () => {
      this.app.held = !this.app.held;
      go();
    };
    return make("button", { type: "button", class: "token", "data-token": t, pointerenter: hover, click: hold }, [make("span", {}, [word]), make("small")]);
  }

  /** @param {number} t */
  placeOf(t) {
    return { y: (t + 0.5) / this.about.input[1], x: 0.5 };
  }

  /** @param {import("./card.js").Wanted} wanted */
  tokenAt(wanted) {
    return Math.min(this.about.input[1] - 1, Math.floor(wanted.place.y * this.about.input[1]));
  }

  /** The first of the logits at a token; a model may give them of the last one alone. @param {number} t */
  logits(t) {
    const { output } = this.about;
    return output.length > 1 ? Math.min(t, output[0] - 1) * output[1] : 0;
  }

  /** @param {Float32Array} _ @param {Float32Array} y0 */
  received(_, y0) {
    const { place } = this.app.wanted;
    if (place.x === 0.5 && place.y === 0.5) Object.assign(place, this.placeOf(this.about.input[1] - 1));
    this.scores?.setScores(this.logitsOf(y0, this.tokenAt(this.app.wanted)));
  }

  /** @param {Float32Array} values @param {number} t */
  logitsOf(values, t) {
    return values.slice(this.logits(t), this.logits(t) + (this.about.output.at(-1) || 0));
  }

  /** A row of the logits that are read, or a column of the whole embedding of a token. */
  probed(wanted = this.app.wanted) {
    const [t, width] = [this.tokenAt(wanted), this.about.input[2]];
    const scores = /** @type {import("./scores.js").Scores} */ (this.scores);
    /** @type {import("./source.js").Probe} */
    let probe = scores.probe.map(([label, weight]) => [this.logits(t) + label, weight]);
    if (wanted.mode === "column") probe = Array.from({ length: width }, (_, d) => [t * width + d, this.x0?.[t * width + d] || 0]);
    return { probe, at: wanted.mode === "column" ? [t] : [t, ...scores.at] };
  }

  /** @param {number} dy @param {number} dx */
  placeBeside(dy, dx) {
    return this.placeOf(this.tokenAt(this.app.wanted) + dy + dx);
  }

  /** @param {number[]} at */
  mark([t]) {
    this.chips?.forEach((chip, i) => chip.setAttribute("aria-current", String(i === t)));
  }

  /** What each token adds to what is read; for a column what the token adds to that at every token. */
  shares() {
    const { values, mode, at } = /** @type {NonNullable<Card["filter"]>} */ (this.filter);
    const [, count, width] = this.about.input;
    const scores = /** @type {import("./scores.js").Scores} */ (this.scores);
    return Float32Array.from({ length: count }, (_, t) => {
      if (mode === "column") return this.about.output.length > 1 || t === at[0] ? scores.probe.reduce((sum, [label, weight]) => sum + weight * values[this.logits(t) + label], 0) : 0;
      let sum = 0;
      for (let i = t * width; i < (t + 1) * width; i++) sum += values[i] * (this.x0?.[i] || 0);
      return sum;
    });
  }

  draw() {
    const { wanted } = this.app;
    if (!this.filter || !this.scores || !this.y0) return;
    const { mode, at, values } = this.filter;
    const shares = this.shares();
    const limit = largest(shares);
    this.element.dataset.mode = mode;
    this.scores.column = mode === "row" ? null : this.logitsOf(values, this.about.input[1] - 1);
    this.scores.setScores(this.logitsOf(this.y0, at[0]), true);
    shares.forEach((share, t) => this.paintChip(t, share, limit));
    const measured = this.measured();
    this.rest.textContent = mode === "row" && measured ? `r ${signed(measured.r)}` : "";
    this.rest.title = "everything but the embeddings: biases and positions";
    if (mode === "row") this.alone.setUnder(coloured(planeOf(values, this.about.input, "sum").values, largest(values), wanted.scale, wanted.theme, false));
    this.alone.draw();
    this.legend.draw(limit, wanted);
    this.sayShares(shares);
    this.drawLaw();
  }

  /** @param {number} t @param {number} share @param {number} limit */
  paintChip(t, share, limit) {
    const { scale, theme } = this.app.wanted;
    const chip = /** @type {HTMLElement[]} */ (this.chips)[t];
    const [r, g, b] = colour(scaled(share, limit, scale), theme);
    chip.style.background = `rgb(${r} ${g} ${b})`;
    chip.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#000" : "#fff";
    /** @type {HTMLElement} */ (chip.lastElementChild).textContent = short(Number(share.toPrecision(2)));
    chip.setAttribute("aria-label", `${this.about.tokens?.[t]}: ${short(share)}`);
  }

  /** @param {Float32Array} shares */
  sayShares(shares) {
    const { mode, at } = /** @type {NonNullable<Card["filter"]>} */ (this.filter);
    const most = shares.reduce((best, share, t) => (Math.abs(share) > Math.abs(shares[best]) ? t : best), 0);
    const read = this.scores?.said(this.scores.at);
    this.hint.textContent = mode === "row" ? `what the embedding of each token adds to ${read} at ${this.word(at[0])}` : `what the embedding of ${this.word(at[0])} adds to ${read} at each token`;
    this.sentence = `${this.about.name}: ${mode} of F for ${this.probeName(at, mode)}. The largest share is ${short(shares[most])}, ${mode === "row" ? "of" : "at"} ${this.word(most)}.`;
    this.alone.canvas.setAttribute("aria-label", this.sentence);
    if (this.captions?.alone) this.captions.alone.textContent = "the row, a line for each token and a column for each number of its embedding";
  }

  /** @param {number} t */
  word(t) {
    return `token ${t} “${this.about.tokens?.[t]}”`;
  }

  /** @param {number[]} at @param {string} mode */
  probeName([t, ...scores], mode) {
    return mode === "column" ? `the embedding of ${this.word(t)}` : `${this.scores?.said(scores)} at ${this.word(t)}`;
  }

  columnSaid() {
    return "the embedding of this token adds it to the outputs";
  }

  columnLines() {
    const [, count, width] = this.about.input;
    const t = this.filter?.at[0];
    return [`probe = torch.zeros(${count}, ${width})`, `probe[${t}] = lin.x[0, ${t}]`, "column = lin.F @ probe"];
  }
}
