// The live figures of the article. Every number was computed by fxscope when the site was built; here they are looked up,
// decoded and added. Without this script the figures show their first state.
"use strict";

const ABOVE = [224, 102, 12], BELOW = [38, 120, 200];
const STRENGTH = 1.3; // of colours, so that three fifths of the largest is full
const told = window.fxscopeArticle;

/** Numbers of one byte, of base64. */
function bytes(text, kind) {
  return new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

/** A number with a true minus sign. */
function said(value, digits = 2) {
  return value.toFixed(digits).replace("-", "−");
}

/** A canvas in the place of the picture in `view`, with its words. */
function canvas(view, size) {
  const made = document.createElement("canvas");
  made.width = made.height = size;
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", view.querySelector("img").alt);
  view.replaceChildren(made);
  return made;
}

/** Draw -1..1 (roots of shares) over grey values, or over the paper where there are none. */
function draw(target, values, grey) {
  const pixels = new ImageData(target.width, target.height);
  values.forEach((value, i) => {
    const strength = Math.min(1, STRENGTH * Math.abs(value)), to = value > 0 ? ABOVE : BELOW;
    const from = grey ? grey[i] : null;
    for (let k = 0; k < 3; k++) pixels.data[4 * i + k] = from === null ? to[k] : from + (to[k] - from) * strength;
    pixels.data[4 * i + 3] = from === null ? 255 * strength : from < 0 ? 0 : 255;
  });
  target.getContext("2d").putImageData(pixels, 0, 0);
}

function walk(figure) {
  const { side, view, networks, photo } = told.walk;
  const grey = bytes(photo, Uint8Array), half = (view - 1) / 2;
  const place = figure.querySelector(".walk-photo"), grid = figure.querySelector(".walk-grid");
  const beneath = figure.querySelector("input[type=checkbox]");
  const panels = [...figure.querySelectorAll(".panel")].map((panel) => {
    const of = networks[panel.dataset.network];
    return { of, codes: bytes(of.codes, Int8Array), panel, on: canvas(panel.querySelector(".view"), view) };
  });
  let [y, x] = grid.dataset.at.split(",").map(Number);

  function around() {
    return Float32Array.from({ length: view * view }, (_, i) => {
      const row = y - half + Math.floor(i / view), column = x - half + (i % view);
      return row < 0 || column < 0 || row >= side || column >= side ? -1 : grey[row * side + column];
    });
  }
  function show() {
    const at = y * side + x, under = beneath.checked ? around() : null;
    for (const { of, codes, panel, on } of panels) {
      const wide = 2 * of.reach + 1, first = at * wide * wide, edge = half - of.reach;
      const values = new Float32Array(view * view);
      for (let i = 0; i < wide * wide; i++) {
        values[(edge + Math.floor(i / wide)) * view + edge + (i % wide)] = codes[first + i] / 127;
      }
      draw(on, values, under);
      const r = of.r[at];
      panel.querySelector(".sum").textContent =
        `${said(of.inner[at], 3)} ${r < 0 ? "−" : "+"} ${Math.abs(r).toFixed(3)} = ${said(of.y[at], 3)}`;
      on.setAttribute("aria-label", `Row of ${panel.querySelector(".name").textContent} at row ${y}, column ${x}`);
    }
    const size = 100 / side, [mark, field] = [place.querySelector(".pixel"), place.querySelector(".field")];
    Object.assign(mark.style, { top: `${(y - .25) * size}%`, left: `${(x - .25) * size}%`, width: `${.75 * size}%`, height: `${.75 * size}%` });
    const [top, left] = [Math.max(0, y - half), Math.max(0, x - half)];
    const [bottom, right] = [Math.min(side, y + half + 1), Math.min(side, x + half + 1)];
    Object.assign(field.style, { top: `${top * size}%`, left: `${left * size}%`, height: `${(bottom - top) * size}%`, width: `${(right - left) * size}%` });
  }
  function go(row, column) {
    [y, x] = [row, column].map((v) => Math.max(0, Math.min(side - 1, Math.floor(v))));
    show();
  }
  const follow = (event) => {
    const box = place.getBoundingClientRect();
    go(((event.clientY - box.top) / box.height) * side, ((event.clientX - box.left) / box.width) * side);
  };
  place.addEventListener("pointermove", follow);
  place.addEventListener("pointerdown", follow);
  place.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go(y + step[0], x + step[1]);
  });
  figure.querySelectorAll("button").forEach((button) =>
    button.addEventListener("click", () => go(...button.dataset.at.split(",").map(Number))));
  beneath.addEventListener("change", show);
  show();
}

function path(figure) {
  const { t, curve, slopes, changed, ends } = told.path;
  const plot = figure.querySelector(".path-plot"), { low, high } = plot.dataset;
  const px = (at) => 40 + 590 * at, py = (y) => 250 - (230 * (y - low)) / (high - low);
  const slider = figure.querySelector("input"), words = figure.querySelector(".said");
  const lines = [...figure.querySelectorAll(".frozen-line")], dots = [...figure.querySelectorAll(".dot")];
  slider.addEventListener("input", () => {
    const n = Number(slider.value), at = t[4 * n];
    lines.forEach((line, k) => {
      const y = (to) => curve[4 * n][k] + slopes[n][k] * (to - at);
      line.setAttribute("points", `${px(0)},${py(y(0))} ${px(1)},${py(y(1))}`);
      dots[k].setAttribute("cx", px(at));
      dots[k].setAttribute("cy", py(curve[4 * n][k]));
    });
    const far = curve[4 * n][0] + slopes[n][0] * (1 - at);
    words.textContent = `At the ${ends[1]} the frozen map gives “${ends[0]}” the score ${said(far, 1)}, the network ` +
      `${said(curve[curve.length - 1][0], 1)}; ${Math.round(100 * changed[n][1])}% of the decisions are others there.`;
  });
}

function digits(figure) {
  const { rows, largest, layers, sums, ink } = told.digits;
  const codes = bytes(rows, Int8Array), under = bytes(ink, Uint8Array), size = 32 * 32;
  const on = canvas(figure.querySelector(".view"), 32), list = figure.querySelector(".bars");
  const one = figure.querySelector(".one"), other = figure.querySelector(".other");
  const buttons = [...figure.querySelectorAll(".which button")];
  let digit = 3;

  function row(n) {
    const from = (digit * 10 + n) * size;
    return Float32Array.from(codes.subarray(from, from + size), (c) => Math.sign(c) * (c / 127) ** 2 * largest[digit][n]);
  }
  function term(name, value, scale) {
    const kind = value >= 0 ? "above" : "below", width = (50 * Math.abs(value)) / scale;
    const made = document.createElement("div");
    made.className = "term";
    made.innerHTML = `<span></span><span class="track"><span class="bar ${kind}"></span></span><span>${said(value)}</span>`;
    made.firstChild.textContent = name;
    Object.assign(made.querySelector(".bar").style, { left: `${value >= 0 ? 50 : 50 - width}%`, width: `${width}%` });
    return made;
  }
  function show() {
    const n = Number(one.value), m = other.value === "" ? null : Number(other.value);
    const taken = m === null ? null : row(m), values = row(n).map((v, i) => v - (taken ? taken[i] : 0));
    const limit = values.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-30);
    draw(on, values.map((v) => Math.sign(v) * Math.sqrt(Math.abs(v) / limit)),
      Float32Array.from(under.subarray(digit * size, digit * size + size), (v) => 255 - .45 * v));
    const parts = sums[digit][n].map((v, i) => v - (m === null ? 0 : sums[digit][m][i]));
    const total = parts.reduce((a, b) => a + b, 0), scale = Math.max(...parts.map(Math.abs), Math.abs(total), 1e-9);
    list.replaceChildren(...["F x₀", ...layers].map((name, i) => term(name, parts[i], scale)),
      term(m === null ? "score" : "difference", total, scale));
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.digit) === digit)));
    on.setAttribute("aria-label", `Row of score ${n}${m === null ? "" : ` minus score ${m}`} at a handwritten ${digit}`);
  }
  buttons.forEach((button) => button.addEventListener("click", () => {
    digit = Number(button.dataset.digit);
    show();
  }));
  one.addEventListener("change", show);
  other.addEventListener("change", show);
  show();
}

const LIVE = { walk, path, digits };
if (told) document.querySelectorAll(".article-figure").forEach((figure) => LIVE[figure.dataset.figure]?.(figure));
