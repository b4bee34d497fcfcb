// What a graph in a page does when it is clicked, typed at, dragged and searched.

Object.assign(Graph.prototype, {
  listen() {
    this.svg.addEventListener("click", (event) => this.click(event));
    this.svg.addEventListener("dblclick", (event) => {
      const i = event.target.closest?.("[data-box]")?.dataset.box;
      if (i !== undefined && this.box(i).s) this.toggle(this.box(i).k);
    });
    for (const kind of ["pointerover", "focusin"]) {
      this.svg.addEventListener(kind, (event) => {
        const box = event.target.closest?.("[data-box]");
        this.near(box ? +box.dataset.box : -1);
      });
    }
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !this.root.classList.contains("full")) return;
      event.preventDefault();
      this.zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 200), event.clientX, event.clientY);
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keydown", (event) => this.anywhere(event));
    this.find.addEventListener("input", () => this.search());
    this.find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
    });
    this.drag();
    this.pinch();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  },

  click(event) {
    if (this.moved) return;
    const fold = event.target.closest("[data-fold]"), box = event.target.closest("[data-box]");
    if (fold) this.toggle(fold.dataset.fold);
    else if (box) this.open(+box.dataset.box);
  },

  // Dragging with a mouse scrolls; fingers scroll by themselves.
  drag() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.moved = false;
      const { scrollLeft, scrollTop } = this.canvas;
      if (event.pointerType === "mouse" && event.button === 0) from = [event.clientX, event.clientY, scrollLeft, scrollTop];
    });
    window.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (Math.abs(dx) + Math.abs(dy) < 5 && !this.moved) return;
      this.moved = true;
      this.canvas.classList.add("held");
      Object.assign(this.canvas, { scrollLeft: from[2] - dx, scrollTop: from[3] - dy });
    });
    window.addEventListener("pointerup", () => { from = null; this.canvas.classList.remove("held"); });
  },

  pinch() {
    let last = 0;
    const span = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    this.canvas.addEventListener("touchstart", (event) => {
      if (event.touches.length === 2) last = span(event.touches);
    }, { passive: true });
    this.canvas.addEventListener("touchmove", (event) => {
      if (event.touches.length !== 2) return;
      event.preventDefault();
      const [a, b] = event.touches, now = span(event.touches);
      this.zoom(now / last, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
      last = now;
    }, { passive: false });
  },

  anywhere(event) {
    if (event.key === "Escape") {
      if (!this.panel.hidden) this.close();
      else if (this.root.classList.contains("full")) this.press("full", this.root.querySelector("[data-do=full]"));
      else return;
      event.preventDefault();
    }
  },

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const focused = event.target.closest("[data-box]"), i = focused ? +focused.dataset.box : -1;
    const tool = { "+": "in", "=": "in", "-": "out", 0: "fit", 9: "whole", f: "full" }[event.key];
    const arrow = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (tool) this.press(tool, this.root.querySelector(`[data-do=${tool}]`));
    else if (event.key === "/") this.find.focus();
    else if (arrow && i >= 0) this.walk(i, ...arrow);
    else if (i >= 0 && event.key === "Enter") this.open(i, true);
    else if (i >= 0 && event.key === " ") this.foldAt(i);
    else return;
    event.preventDefault();
  },

  // Go to the nearest box in a direction: up and down within a branch, left and right also to the other.
  walk(i, dx, dy) {
    const from = this.g.rectangles.get(this.names[i]), branch = this.box(i).b;
    let best = -1, least = Infinity;
    this.names.forEach((name, n) => {
      const to = this.g.rectangles.get(name);
      const [x, y] = [to.x + to.w / 2 - from.x - from.w / 2, to.y + to.h / 2 - from.y - from.h / 2];
      const ahead = dx * x + dy * y, aside = Math.abs(dx ? y : x);
      if (ahead < 4 || (dy && this.box(n).b !== branch) || (dx && aside > ahead)) return;
      if (ahead + 2 * aside < least) [best, least] = [n, ahead + 2 * aside];
    });
    if (best >= 0) this.focus(best);
  },

  foldAt(i) {
    const box = this.box(i), around = this.around(box.k);
    if (box.s) this.toggle(box.k);
    else if (around.length) this.toggle(around.at(-1)[0]);
  },

  // The expanded modules that hold a box, from the outermost to the innermost.
  around(key) {
    const at = this.g.p.home.indexOf(key);
    return this.data.groups.filter(([k, from, count]) => k !== key && from <= at && at < from + count
      && !this.folded.has(k));
  },

  open(i, keyboard = false) {
    const box = this.box(i), panel = this.panel;
    this.chosen = this.at = i;
    panel.replaceChildren(this.button("×", "close (Esc)", () => this.close(), "fxscope-close"));
    panel.append(element("p", { class: "fxscope-name" }, `${box.n} ${box.p || ""}`.trim()));
    panel.append(element("p", { class: "fxscope-where" }, BRANCHES[box.b] + (box.a ? "; no twin: runs on x0 only" : "")));
    const acts = element("p", { class: "fxscope-acts" });
    if (box.s) acts.append(this.button("⊞ expand", `expand ${box.n}`, () => this.toggle(box.k)));
    for (const [key, , , path] of this.around(box.k)) {
      acts.append(this.button(`⊟ ${path}`, `fold ${path}`, () => this.toggle(key)));
    }
    if (acts.children.length) panel.append(acts);
    if (this.rules[box.r]) panel.append(this.link(box.r));
    for (const line of box.t || []) panel.append(element("p", {}, line));
    const sizes = sizesOf(this.data, box), probes = box.b === "interpreter" && box.c !== "input" ? " (probes first)" : "";
    if (box.z || sizes) panel.append(element("p", {}, [box.z && `gives ${box.z}${probes}`, sizes].filter(Boolean).join("; ")));
    if (box.g) panel.append(element("pre", { tabindex: "0" }, box.g.join("\n")));
    panel.hidden = false;
    this.root.classList.add("opened");
    this.resize();
    this.mark();
    this.show(i);
    panel.scrollTop = 0;
    if (keyboard) panel.focus({ preventScroll: true });
  },

  link(rule) {
    const line = element("p");
    line.append(element("a", { href: this.rules[rule] }, `The rule ${rule}`));
    return line;
  },

  button(text, title, act, kind = "") {
    const made = element("button", { type: "button", title, "aria-label": title, class: kind }, text);
    made.addEventListener("click", act);
    return made;
  },

  close() {
    const inside = this.panel.contains(document.activeElement);
    this.panel.hidden = true;
    this.chosen = undefined;
    this.root.classList.remove("opened");
    this.resize();
    this.mark();
    if (inside && this.at !== undefined && this.node(this.at)) this.focus(this.at);
  },

  // The operations that a text is found in, those in folded modules too.
  search() {
    const words = this.find.value.toLowerCase().split(/\s+/).filter(Boolean), known = new Set(this.data.keys);
    const has = (box) => {
      const text = [box.n, box.p, box.c, box.r, ...(box.t || []).slice(0, 1)].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    this.found = words.length ? this.data.boxes.filter((box) => known.has(box.k) && has(box)) : [];
    this.turn = -1;
    this.hit();
    this.said.textContent = words.length ? `${this.found.length} found` : "";
  },

  hit() {
    const home = new Map(this.data.keys.map((key, i) => [key, this.g.p.home[i]]));
    this.hits = new Set((this.found || []).map((box) => this.names.indexOf(named(box.b, home.get(box.k)))));
    this.mark();
  },

  // The next operation that was found; the modules around it are expanded.
  next(step) {
    if (!this.found?.length) return;
    this.turn = (this.turn + step + this.found.length) % this.found.length;
    const box = this.found[this.turn], at = this.data.keys.indexOf(box.k);
    while (this.g.p.home[at] !== box.k && this.folded.has(this.g.p.home[at])) this.toggle(this.g.p.home[at]);
    this.hit();
    const i = this.names.indexOf(named(box.b, this.g.p.home[at]));
    this.open(i);
    this.find.focus();
    this.said.textContent = `${this.turn + 1} of ${this.found.length}`;
  },
});

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const graphs = new Map();

// Graphs are made when they are first seen: those in closed tabs cost nothing.
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting || graphs.has(target)) continue;
    seen.unobserve(target);
    const data = target.querySelector("script.fxscope-data");
    graphs.set(target, unpacked(data.textContent).then(
      (found) => new Graph(target, found, JSON.parse(data.dataset.rules || "{}")),
    ));
  }
}, { rootMargin: "200px" });

function start() {
  if (typeof DecompressionStream === "undefined") return;
  for (const root of document.querySelectorAll(".fxscope-graph")) {
    if (root.querySelector("script.fxscope-data")) seen.observe(root);
  }
}

globalThis.fxscopeGraphs = { graphs, geometryOf };
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
