// What was computed of a network when the page was made: contributions by layer, eigen-inputs.
import { coloured } from "./colours.js";
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
