// What was computed of a network when the page was made: contributions by layer, eigen-inputs, votes.
import { coloured, photographed } from "./colours.js";
import { make, short } from "./elements.js";
import { largest, planeOf } from "./filters.js";

/**
 * Bars of signed numbers by name.
 * @param {string} title
 * @param {Array<[string, number]>} items
 */
export function bars(title, items) {
  const size = items.reduce((most, [, v]) => Math.max(most, Math.abs(v)), 0) || 1;
  const rows = items.map(([name, value]) => {
    const bar = make("span", { class: value < 0 ? "bar below" : "bar" });
    bar.style.width = `${(50 * Math.abs(value)) / size}%`;
    return make("li", {}, [make("span", { class: "name" }, [name]), make("span", { class: "track" }, [bar]), make("span", { class: "value" }, [short(value)])]);
  });
  return make("details", { class: "bars" }, [make("summary", {}, [title]), make("ul", {}, rows)]);
}

/**
 * The eigen-inputs, each with its singular value; they are fetched when they are looked at.
 * @param {{s: number[], inputs: () => Promise<Float32Array[]>}} svd
 * @param {number[]} shape
 * @param {import("./card.js").Wanted} wanted
 */
export function strip(svd, shape, wanted) {
  const inside = make("div");
  const fill = async () => inside.replaceChildren(...(await svd.inputs()).map((values, i) => eigen(values, i, svd.s[i], shape, wanted)));
  const opened = () => void (inside.children.length || fill().catch((error) => inside.replaceChildren(String(error.message || error))));
  return make("details", { class: "eigen", toggle: opened }, [make("summary", {}, ["Eigen-inputs: what passes through most"]), inside]);
}

/** @param {Float32Array} values @param {number} i @param {number} s @param {number[]} shape @param {import("./card.js").Wanted} wanted */
function eigen(values, i, s, shape, wanted) {
  const canvas = make("canvas", { width: shape[2], height: shape[1], role: "img" });
  const plane = planeOf(values, shape, "strongest");
  const pixels = coloured(plane.values, largest(plane.values), "linear", wanted.theme, false);
  canvas.getContext("2d").putImageData(new ImageData(pixels, shape[2], shape[1]), 0, 0);
  canvas.setAttribute("aria-label", `eigen-input ${i + 1}, singular value ${short(s)}`);
  return make("figure", {}, [canvas, make("figcaption", {}, [`σ${i + 1} = ${short(s)}`])]);
}

const SHADES = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167], [90, 90, 90]]; // told apart by most

/**
 * The votes over the photograph: each pixel in the colour of the score it speaks for; one score alone where it is chosen.
 * @param {{labels: number[], winners: number[]}} votes
 * @param {import("./card.js").Card} card
 */
export function ballot(votes, card) {
  const [, height, width] = card.about.input;
  const canvas = make("canvas", { width, height, role: "img" });
  const name = (/** @type {number} */ k) => card.scores?.name(votes.labels[k]);
  const counts = votes.labels.map((_, k) => votes.winners.filter((winner) => winner === k).length);
  /** @type {number|null} */
  let alone = null;
  const draw = () => {
    if (!card.x0) return;
    const pixels = photographed(card.x0, card.about.input, card.about.shownInput);
    votes.winners.forEach((k, i) => {
      if (alone === null || alone === k) for (let c = 0; c < 3; c++) pixels[4 * i + c] = 0.35 * pixels[4 * i + c] + 0.65 * SHADES[k][c];
    });
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    const said = counts.map((n, k) => `${name(k)} ${Math.round((100 * n) / votes.winners.length)} %`).join(", ");
    canvas.setAttribute("aria-label", `votes of the pixels: ${said}`);
  };
  const keys = votes.labels.map((_, k) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = `rgb(${SHADES[k]})`;
    const pick = () => {
      alone = alone === k ? null : k;
      keys.forEach((key, i) => key.setAttribute("aria-pressed", String(i === alone)));
      draw();
    };
    return make("button", { type: "button", "aria-pressed": "false", click: pick }, [swatch, `${name(k)} ${Math.round((100 * counts[k]) / votes.winners.length)} %`]);
  });
  const inside = make("div", {}, [make("figure", {}, [canvas]), make("div", { class: "keys" }, keys)]);
  return make("details", { class: "votes", toggle: draw }, [make("summary", {}, ["Votes: the score that each pixel speaks for most"]), inside]);
}
