// The page: what is wanted, its controls, and the cards of all networks.
import { Card } from "./card.js";
import { choice, make, switcher } from "./elements.js";
import { largest } from "./filters.js";
import { followPointer } from "./pointer.js";
import { saveView } from "./save.js";
import { TokenCard } from "./tokens.js";

/** @typedef {import("./source.js").Source} Source */

const PINS = 12;

export class App {
  /**
   * @param {HTMLElement} root
   * @param {Source[][]} photos  the networks' sources, of every photograph
   * @param {(app: App) => Promise<void>} told  says how the networks of a photograph run, when they do
   */
  constructor(root, photos, told = async () => {}) {
    this.root = root;
    this.told = told;
    this.photos = photos;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    /** @type {import("./card.js").Wanted} */
    this.wanted = {
      mode: "row", place: { x: 0.5, y: 0.5 }, region: null, channel: "all", shown: "sum", quantity: "filter", scale: "root",
      opacity: 0.8, box: true, shared: false, theme: this.dark.matches ? "dark" : "light", view: { zoom: 1, x: 0.5, y: 0.5 },
    };
    /** @type {Card[]} */
    this.cards = [];
    this.held = false;
    this.networks = make("div", { class: "cards" });
    this.pins = make("ul", { class: "pins", "aria-label": "pinned places" });
    this.live = make("p", { class: "live", "aria-live": "polite" });
    this.controls = make("div", { class: "controls", role: "group", "aria-label": "what is shown" });
    this.runs = make("p", { class: "note runs", role: "status" });
    root.replaceChildren(this.controls, this.networks, this.pins, this.live, this.runs);
    this.dark.addEventListener("change", () => this.setTheme(this.dark.matches ? "dark" : "light"));
    document.addEventListener("keydown", (event) => this.key(event));
    this.open(0);
  }

  /** @param {number} number  of the photograph */
  open(number) {
    this.photo = number;
    this.cards = this.photos[number].map((source) => new (source.describe().kind === "tokens" ? TokenCard : Card)(source, this));
    for (const card of this.cards) followPointer(this, card);
    this.networks.replaceChildren(...this.cards.map((card) => card.element));
    this.buildControls();
    this.started = Promise.all(this.cards.map((card) => card.start())).then(() => this.told(this));
  }

  buildControls() {
    const { wanted, cards } = this;
    const set = (/** @type {string} */ name) => (/** @type {string} */ value) => this.set({ [name]: value });
    const outputs = Math.max(...cards.map((card) => card.about.input[0]));
    const numbers = /** @type {Array<[string, string]>} */ (Array.from({ length: outputs }, (_, c) => [String(c), channelName(c, outputs)]));
    this.modes = switcher("row or column", [["row", "Row"], ["column", "Column"]], wanted.mode, set("mode"));
    const parts = [this.modes];
    if (this.photos.length > 1) {
      const names = /** @type {Array<[string, string]>} */ (this.photos.map((sources, i) => [String(i), sources[0].describe().photo]));
      parts.unshift(choice("photograph", names, String(this.photo), (value) => this.open(Number(value))));
    }
    if (outputs > 1) {
      parts.push(choice("probe", [["all", "all channels"], ...numbers], wanted.channel, set("channel")));
      parts.push(choice("draw", [["sum", "sum of channels"], ["strongest", "strongest channel"], ...numbers], wanted.shown, set("shown")));
    }
    const images = cards.some((card) => card.about.kind !== "tokens");
    if (images) parts.push(choice("values", [["filter", "row"], ["times", "row · x0"]], wanted.quantity, set("quantity")));
    parts.push(choice("scale", [["linear", "linear"], ["root", "signed root"], ["log", "signed log"]], wanted.scale, set("scale")));
    if (images) parts.push(this.slider(), this.tick("support box", "box"));
    if (cards.length > 1) parts.push(this.tick("one scale", "shared"));
    parts.push(make("div", { class: "buttons" }, this.buttons()));
    this.controls.replaceChildren(...parts);
  }

  buttons() {
    const button = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ click) => make("button", { type: "button", title, click }, [text]);
    return [
      button("−", "zoom out (key −)", () => this.zoom(1 / 1.5)),
      button("+", "zoom in (key +)", () => this.zoom(1.5)),
      button("Pin", "keep this place (key p)", () => this.pin()),
      button("PNG", "save the view as a picture", () => saveView(this, "png")),
      button("SVG", "save the view as a picture with text that can be edited", () => saveView(this, "svg")),
      button("Python", "save the lines of Python that compute it", () => saveView(this, "py")),
      button("◐", "light or dark", () => this.setTheme(this.wanted.theme === "dark" ? "light" : "dark")),
    ];
  }

  slider() {
    const input = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: this.wanted.opacity, input: () => this.set({ opacity: Number(input.value) }) });
    return make("label", { class: "control" }, [make("span", {}, ["opacity"]), input]);
  }

  /** @param {string} label @param {"box"|"shared"} name */
  tick(label, name) {
    const input = make("input", { type: "checkbox", change: () => this.set({ [name]: input.checked }) });
    input.checked = this.wanted[name];
    return make("label", { class: "control tick" }, [input, make("span", {}, [label])]);
  }

  /** @param {Partial<import("./card.js").Wanted>} change */
  set(change) {
    const again = ["mode", "channel", "place"].some((name) => name in change);
    Object.assign(this.wanted, change);
    if (change.mode) this.modes.press(change.mode);
    for (const card of this.cards) {
      if (again) card.update();
      else card.draw();
    }
    this.tell();
  }

  /** @param {"light"|"dark"} theme */
  setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    this.set({ theme });
  }

  /** @param {{x: number, y: number}} place  shares of the width and height */
  moved({ x, y }) {
    const clamp = (/** @type {number} */ share) => Math.max(0, Math.min(0.999999, share));
    this.set({ place: { x: clamp(x), y: clamp(y) }, region: null });
  }

  /** All outputs between two places: their rows are summed. @param {{x: number, y: number}} from @param {{x: number, y: number}} to */
  boxed(from, to) {
    this.set({ place: { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 }, region: [from, to] });
  }

  /** The smallest size of the photograph that is shown, if it is another; null: there is none. */
  smaller() {
    const sizeOf = (/** @type {Source[]} */ sources) => sources[0].describe().input[1];
    const [own, ...others] = this.photos.slice(this.photo).filter((sources, i) => !i || sources[0].describe().reduced);
    const name = own[0].describe().photo;
    const found = others.find((sources) => sources[0].describe().photo.startsWith(`${name}, `) && sizeOf(sources) < sizeOf(own));
    return found ? { name: found[0].describe().photo, open: () => this.show(this.photos.indexOf(found)) } : null;
  }

  /** @param {number} number  of the photograph */
  show(number) {
    this.open(number);
    this.controls.querySelector("select")?.focus();
  }

  /** The largest value of all networks. */
  limit() {
    return Math.max(0, ...this.cards.map((card) => (card.plane() ? largest(/** @type {any} */ (card.plane()).values) : 0)));
  }

  /** @param {Card} card */
  drawn(card) {
    if (this.wanted.shared) for (const other of this.cards) if (other !== card) other.draw();
    this.tell();
    this.restSoon();
  }

  /** Tell a screen reader, when the place rests. */
  tell() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => (this.live.textContent = this.cards.map((card) => card.sentence).join(" ")), 600);
  }

  /** @param {number} factor */
  zoom(factor) {
    const { view } = this.wanted;
    view.zoom = Math.max(1, Math.min(40, view.zoom * factor));
    this.look(view.zoom === 1 ? { x: 0.5, y: 0.5 } : this.wanted.place);
  }

  /** Look at a place, within the photograph. @param {{x: number, y: number}} middle */
  look(middle) {
    const { view } = this.wanted;
    const half = 0.5 / view.zoom;
    view.x = Math.max(half, Math.min(1 - half, middle.x));
    view.y = Math.max(half, Math.min(1 - half, middle.y));
    for (const card of this.cards) for (const each of [card.photo, card.alone, card.output, card.beyond]) each?.draw();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) return;
    /** @type {Record<string, number[]>} */
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[event.key];
    /** @type {Record<string, () => void>} */
    const others = { r: () => this.set({ mode: "row" }), c: () => this.set({ mode: "column" }), p: () => this.pin(), "+": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5) };
    const other = others[event.key];
    if (!move && !other) return;
    event.preventDefault();
    if (!move) return other();
    const far = event.shiftKey ? 8 : 1;
    this.moved(this.cards[0].placeBeside(far * move[0], far * move[1]));
  }

  pin() {
    const { mode, place, region } = this.wanted;
    const [card] = this.cards;
    const { canvas } = (mode === "column" && card.beyond) || card.alone;
    const small = make("canvas", { width: 72, height: 72 });
    small.getContext("2d").drawImage(canvas, 0, 0, 72, 72);
    const at = card.filter?.at.join(", ");
    const item = make("li");
    const back = { mode, place: { ...place }, region };
    const [label, minus = null] = card.scores?.at || [];
    const again = () => {
      if (label !== undefined) card.scores?.choose(label, minus);
      this.set(back);
    };
    item.append(
      make("button", { type: "button", title: "go there again", click: again }, [small, `${mode} (${at})`]),
      make("button", { type: "button", class: "away", "aria-label": `remove the pin ${mode} (${at})`, click: () => item.remove() }, ["×"]),
    );
    this.pins.append(item);
    if (this.pins.children.length > PINS) this.pins.firstChild?.remove();
  }

  /** When nothing is asked for, compute what is likely next: the neighbours, and the other of row and column. */
  restSoon() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), 250);
  }

  async rest() {
    const { wanted } = this;
    const { mode, place } = wanted;
    const others = [[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]];
    for (const [dy, dx] of others) {
      for (const card of this.cards) {
        if (wanted.place !== place || wanted.mode !== mode || !card.y0 || card.element.dataset.failed) return;
        /** @type {"row"|"column"} */
        const other = !dy && !dx ? (mode === "row" ? "column" : "row") : mode;
        const beside = { ...wanted, mode: other, place: card.placeBeside(dy, dx), region: null };
        const { probe } = card.probed(beside);
        await (other === "row" ? card.source.row(probe, true) : card.source.column(probe, true)).catch(() => null);
      }
    }
  }
}

/** @param {number} c @param {number} count */
export function channelName(c, count) {
  return count === 3 ? ["red", "green", "blue"][c] : `channel ${c}`;
}
