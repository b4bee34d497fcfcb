// A graph in a page: zoom, pan, search, expand and fold modules, cards. Without it the page has the same picture.

const BRANCHES = { original: "original branch", interpreter: "interpreter branch", graph: "" };
const escaped = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const element = (tag, attributes = {}, text = "") => {
  const made = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

function ending(text, room, letter) {
  const fits = Math.floor(room / letter);
  if (text.length <= fits) return text;
  return fits > 3 ? `…${text.slice(text.length - fits + 1).replace(/^\.+/, "")}` : "";
}

function beginning(text, room, letter) {
  const fits = Math.floor(room / letter);
  return text.length <= fits ? text : fits > 6 ? `${text.slice(0, fits - 1)}…` : "";
}

const write = (x, y, text, kind) => `<text class="${kind}" x="${f(x)}" y="${f(y)}">${escaped(text)}</text>`;

// The SVG of a state, as svg.py writes it, with frames and handles of the modules.
function bodyOf(g, id, folded, shapes) {
  const names = new Map([...g.p.boxes.keys()].map((name, i) => [name, i]));
  const ends = (way) => `data-from="${names.get(way.source)}" data-to="${names.get(way.target)}"`;
  const line = (way, kind) => `<path class="${kind}${way.label ? ` ${way.label}` : ""}" ${ends(way)}`
    + (way.joins ? "" : ` marker-${way.up ? "start" : "end"}="url(#${id}-${way.label || "data"})"`) + ` d="${way.d}"/>`;
  const freezes = freezeWays(g), boxes = [...g.p.boxes];
  return [
    ...headingsOf(g), ...framesOf(g, folded),
    ...dataWays(g).map((way) => line(way, "data")), ...freezes.map((way) => line(way, "freeze")),
    ...boxes.map(([name, box], i) => boxOf(g, name, box, i, id)),
    ...boxes.map(([name, box]) => handleOf(g, name, box)),
    ...(shapes ? boxes.map(([name, box]) => shapeOf(g, name, box)) : []),
    ...freezes.map((way) => captionOf(g, way)),
  ].join("");
}

function headingsOf(g) {
  const c = g.d.constants, y = g.d.top + 18;
  return Object.entries(g.d.headings).filter(([branch]) => branch in g.inner).map(([branch, [heading, below]]) => {
    const x = g.inner[branch] - (g.sign[branch] < 0 ? g.boxWidth : 0);
    return write(x, y, heading, "heading") + write(x, y + c.LINE, below, "muted");
  });
}

function framesOf(g, folded) {
  const used = new Map(), c = g.d.constants;
  return frames(g, folded).map(({ key, path, branch, x, y, w, h, apart }) => {
    const place = `${branch} ${Math.round(x)} ${Math.round(y)}`, before = used.get(place);
    const short = before && path.startsWith(`${before.path}.`) ? path.slice(before.path.length) : path;
    const text = `⊟ ${ending(short, g.boxWidth / 2 - 14, 6)}`, left = before ? before.end + 8 : x + 5;
    used.set(place, { path, end: left + 6.2 * text.length });
    return (apart ? `<rect class="frame" x="${f(x)}" y="${f(y)}" width="${f(w)}" height="${f(h)}" rx="8"/>` : "")
      + `<g class="fold tag" role="button" tabindex="-1" data-fold="${escaped(key)}" aria-label="fold ${escaped(path)}">`
      + `<title>fold ${escaped(path)}</title><rect class="page" x="${f(left - 2)}" y="${f(y - 9)}"`
      + ` width="${f(6.2 * text.length + 4)}" height="13" fill-opacity="0.85"/>${write(left, y + 1, text, "")}</g>`;
  });
}

function boxOf(g, name, box, i, id) {
  const { x, y, w, h } = g.rectangles.get(name), c = g.d.constants, inset = box.s ? c.STACK : 0;
  const shifts = box.s ? (box.s > 1 ? [c.STACK, c.STACK / 2, 0] : [c.STACK, 0]) : [0];
  const sheets = shifts.map((d) => `<rect x="${f(x + d)}" y="${f(y + d)}" width="${f(w - inset)}"`
    + ` height="${f(h - inset)}" rx="5"/>`);
  const wide = w - 2 * c.PADDING - inset, room = wide - (box.s ? 16 : 0), shown = ending(box.n, room, c.BOLD);
  const left = room - c.BOLD * shown.length - c.REGULAR;
  const place = (box.s ? beginning : ending)(box.p || "", left, c.REGULAR);
  const lines = box.lines.map((text, n) => {
    const [head, like] = text.split(", as ");
    const said = box.s && like ? `${head}, as ${ending(like, wide - c.REGULAR * (head.length + 5), c.REGULAR)}` : text;
    return write(x + c.PADDING, y + c.LINE * (n + 2), beginning(said, wide + 2 * c.REGULAR, c.REGULAR), "muted");
  });
  const said = [`${box.n} ${box.p || ""}`.trim(), BRANCHES[box.b], ...box.lines, box.a ? "no twin" : ""];
  return `<g class="box ${box.c || "linear"}${box.a ? " alone" : ""}" id="${id}-b${i}" data-box="${i}" role="button"`
    + ` tabindex="-1" aria-label="${escaped(said.filter(Boolean).join(", "))}">`
    + `<title>${escaped((box.t || []).slice(0, 2).join("\n"))}</title>${sheets.join("")}`
    + `<text x="${f(x + c.PADDING)}" y="${f(y + c.LINE)}"><tspan class="name">${escaped(shown)}</tspan>`
    + `${place ? `<tspan class="muted" dx="6">${escaped(place)}</tspan>` : ""}</text>${lines.join("")}</g>`;
}

// What expands a folded module.
function handleOf(g, name, box) {
  if (!box.s) return "";
  const { x, y, w } = g.rectangles.get(name), c = g.d.constants, right = x + w - c.STACK;
  return `<g class="fold" role="button" tabindex="-1" data-fold="${escaped(box.k)}" aria-label="expand ${escaped(box.n)}">`
    + `<title>expand ${escaped(box.n)}</title><rect x="${f(right - 22)}" y="${f(y + 1)}" width="21" height="21"`
    + ` fill-opacity="0" stroke="none"/>${write(right - 19, y + 16, "⊞", "plus")}</g>`;
}

function shapeOf(g, name, box) {
  const { x, y, w, h } = g.rectangles.get(name), above = g.p.backwards && box.b === "interpreter";
  if (!box.z || (above && !g.layer.get(box.k))) return "";
  return write(x + w / 2 + 5, above ? y - 5 : y + h + 11, box.z, "shape");
}

function captionOf(g, way) {
  const text = way.count > 1 ? `${way.label} ×${way.count}` : way.label, w = g.d.constants.REGULAR * (text.length + 2);
  return `<rect class="page" x="${f(way.x - w / 2)}" y="${f(way.y - 6)}" width="${f(w)}" height="12"/>`
    + write(way.x, way.y + 4, text, `caption ${way.label}`);
}

const TOOLS = [
  ["out", "−", "zoom out (-)"], ["in", "+", "zoom in (+)"], ["fit", "Width", "fit the width (0)"],
  ["whole", "Whole", "show the whole graph (9)"], ["expand", "Expand all", "every operation"],
  ["foldall", "Fold all", "every module one box"], ["sizes", "Sizes", "parameters and multiply-adds"],
  ["shapes", "Shapes", "shapes of the tensors"], ["full", "⤢", "fill the window (f)"],
];

class Graph {
  constructor(root, data, rules) {
    Object.assign(this, { root, data, rules, folded: new Set(data.folded), shapes: true, sizes: false, fit: "width" });
    this.stage = root.querySelector(".fxscope-stage");
    this.canvas = root.querySelector(".fxscope-canvas");
    this.svg = this.canvas.querySelector("svg");
    this.panel = element("div", { class: "fxscope-panel", role: "region", "aria-label": "the chosen box", tabindex: "-1" });
    this.panel.hidden = true;
    this.stage.append(this.panel);
    this.canvas.setAttribute("tabindex", "0");
    this.canvas.setAttribute("role", "group");
    this.canvas.setAttribute("aria-label", "graph: arrow keys go from box to box, Enter opens a card, Space expands or"
      + " folds, + and - zoom");
    this.tools();
    this.render();
    this.listen();
    root.dataset.ready = "";
  }

  tools() {
    const bar = element("div", { class: "fxscope-tools", role: "toolbar", "aria-label": "graph" });
    for (const [name, text, title] of TOOLS) {
      if (name === "shapes" && !this.data.boxes.some((box) => box.z)) continue;
      if (name.includes("fold") && !this.data.groups.length || name === "expand" && !this.data.groups.length) continue;
      const button = element("button", { type: "button", title, "aria-label": title, "data-do": name }, text);
      if (name === "sizes" || name === "shapes" || name === "full") button.setAttribute("aria-pressed", name === "shapes");
      bar.append(button);
    }
    this.find = element("input", { type: "search", placeholder: "find (/)", "aria-label": "find an operation" });
    this.said = element("output", { "aria-live": "polite" });
    bar.append(this.find, this.said);
    this.root.prepend(bar);
    bar.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.do;
      if (name) this.press(name, event.target.closest("button"));
    });
  }

  press(name, button) {
    const all = this.data.groups.filter(([, , count]) => count > 1).map(([key]) => key);
    if (name === "in" || name === "out") this.zoom(name === "in" ? 1.25 : 0.8);
    else if (name === "fit" || name === "whole") { this.fit = name === "fit" ? "width" : "whole"; this.resize(); }
    else if (name === "expand") this.change(new Set());
    else if (name === "foldall") this.change(new Set(all));
    else if (name === "full") {
      button.setAttribute("aria-pressed", this.root.classList.toggle("full"));
      this.resize();
    } else {
      this[name] = !this[name];
      button.setAttribute("aria-pressed", this[name]);
      this.render();
    }
  }

  // Draw the state; false where it cannot be drawn.
  render() {
    const g = geometryOf(this.data, this.folded, this);
    if (!g) return false;
    this.g = g;
    this.names = [...g.p.boxes.keys()];
    const [width, height] = [Math.max(g.width, this.data.least), g.height].map(Math.round);
    this.svg.querySelector("g.body").innerHTML = bodyOf(g, this.svg.id, this.folded, this.shapes);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    Object.assign(this, { width, height });
    this.resize();
    this.mark();
    return true;
  }

  resize() {
    if (!this.canvas.clientWidth) return;
    const room = this.canvas.clientWidth / this.width, tall = this.canvas.parentElement.clientHeight;
    if (this.fit === "width") this.scale = Math.min(1, room);
    if (this.fit === "whole") {
      const height = parseFloat(getComputedStyle(this.canvas).maxHeight) || tall;
      this.scale = Math.min(1, room, (height - 4) / this.height);
    }
    Object.assign(this.svg.style, { width: `${this.width * this.scale}px`, height: `${this.height * this.scale}px` });
  }

  // Zoom about a point of the window, or about the middle of what is seen.
  zoom(factor, x, y) {
    const seen = this.canvas.getBoundingClientRect();
    x ??= seen.left + seen.width / 2;
    y ??= seen.top + seen.height / 2;
    const before = this.svg.getBoundingClientRect();
    const [u, v] = [(x - before.left) / before.width, (y - before.top) / before.height];
    this.fit = "";
    this.scale = Math.min(4, Math.max(0.04, this.scale * factor));
    this.resize();
    const after = this.svg.getBoundingClientRect();
    this.canvas.scrollLeft += after.left + u * after.width - x;
    this.canvas.scrollTop += after.top + v * after.height - y;
  }

  // Another state; the first operation of `key` stays where it is in the window.
  change(folded, key) {
    const before = this.folded, i = key === undefined ? -1 : this.indexOf(this.firstOf(key));
    const top = i < 0 ? 0 : this.node(i).getBoundingClientRect().top;
    const chosen = this.chosen === undefined ? undefined : this.names[this.chosen];
    this.chosen = undefined;
    this.folded = folded;
    if (!this.render()) {
      this.folded = before;
      this.said.textContent = "cannot be one box: other operations lie between its own";
      if (chosen !== undefined) this.chosen = this.names.indexOf(chosen);
      return;
    }
    if (chosen !== undefined && this.names.includes(chosen)) this.chosen = this.names.indexOf(chosen);
    else this.close();
    this.mark();
    if (key === undefined) return;
    const now = this.indexOf(this.firstOf(key));
    this.canvas.scrollTop += this.node(now).getBoundingClientRect().top - top;
    this.focus(now, false);
  }

  // Expand a folded module into its own modules and operations, or fold an expanded one.
  toggle(key) {
    const [, from, count] = this.data.groups.find(([k]) => k === key), folded = new Set(this.folded);
    if (folded.delete(key)) {
      for (const [k, start, n] of this.data.groups) {
        if (k !== key && start >= from && start + n <= from + count && n > 2) folded.add(k);
      }
    } else folded.add(key);
    this.change(folded, key);
  }

  firstOf(key) {
    const group = this.data.groups.find(([k]) => k === key);
    return this.g.p.home[group[1]];
  }

  indexOf(key) {
    const i = this.names.findIndex((name) => this.g.p.boxes.get(name).k === key);
    return i;
  }

  node(i) { return this.svg.querySelector(`[data-box="${i}"]`); }

  box(i) { return this.g.p.boxes.get(this.names[i]); }

  focus(i, scroll = true) {
    this.at = i;
    for (const node of this.svg.querySelectorAll("[data-box]")) node.setAttribute("tabindex", "-1");
    this.node(i).setAttribute("tabindex", "0");
    this.node(i).focus({ preventScroll: true });
    if (scroll) this.show(i);
  }

  // Scroll the canvas, never the page, until a box is inside.
  show(i) {
    const box = this.node(i).getBoundingClientRect(), seen = this.canvas.getBoundingClientRect();
    const over = (low, high, from, to) => (low < from + 20 ? low - from - 20 : high > to - 20 ? high - to + 20 : 0);
    this.canvas.scrollLeft += over(box.left, box.right, seen.left, seen.right);
    this.canvas.scrollTop += over(box.top, box.bottom, seen.top, seen.bottom);
  }

  mark() {
    for (const node of this.svg.querySelectorAll("[data-box]")) {
      const i = +node.dataset.box;
      node.classList.toggle("found", !!this.hits?.has(i));
      node.classList.toggle("chosen", i === this.chosen);
      node.setAttribute("tabindex", i === (this.at ?? 0) ? "0" : "-1");
    }
  }

  near(i) {
    for (const path of this.svg.querySelectorAll("path[data-from]")) {
      path.classList.toggle("near", +path.dataset.from === i || +path.dataset.to === i);
    }
  }
}
