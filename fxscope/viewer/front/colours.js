// Signed numbers as colours: blue below 0, orange above, which most colour-blind people tell apart.

/** @typedef {"linear"|"root"|"log"} Scale */

const DECADES = 3; // of the logarithmic scale

/** @type {Record<string, number[][]>} */
const PALETTES = {
  light: [[0, 40, 104], [33, 102, 172], [146, 197, 222], [247, 247, 247], [253, 184, 99], [224, 102, 12], [127, 45, 4]],
  dark: [[172, 214, 255], [74, 144, 226], [28, 66, 120], [16, 18, 22], [122, 62, 10], [232, 130, 32], [255, 214, 160]],
};

/** What each scale is called in words. @type {Record<Scale, string>} */
export const SCALES = {
  linear: "linear scale",
  root: "signed square-root scale",
  log: `signed logarithmic scale over ${DECADES} decades`,
};

/**
 * -1..1 of a value, where the largest is 1.
 * @param {number} value
 * @param {number} limit
 * @param {Scale} scale
 */
export function scaled(value, limit, scale) {
  if (!limit) return 0;
  const size = Math.min(1, Math.abs(value) / limit);
  return Math.sign(value) * (scale === "linear" ? size : scale === "root" ? Math.sqrt(size) : logged(size));
}

/** @param {number} size */
function logged(size) {
  return Math.max(0, 1 + Math.log10(Math.max(size, 1e-30)) / DECADES);
}

/**
 * @param {number} t  -1..1
 * @param {"light"|"dark"} theme
 * @returns {number[]}
 */
export function colour(t, theme) {
  const stops = PALETTES[theme];
  const at = ((t + 1) / 2) * (stops.length - 1);
  const first = Math.min(stops.length - 2, Math.floor(at));
  return stops[first].map((c, i) => c + (stops[first + 1][i] - c) * (at - first));
}

/**
 * Pixels (RGBA) of a plane; over a photograph the small values let it through.
 * @param {Float32Array} values
 * @param {number} limit
 * @param {Scale} scale
 * @param {"light"|"dark"} theme
 * @param {boolean} over
 */
export function coloured(values, limit, scale, theme, over) {
  const pixels = new Uint8ClampedArray(values.length * 4);
  const table = Array.from({ length: 511 }, (_, i) => colour((i - 255) / 255, over ? "light" : theme));
  for (let i = 0; i < values.length; i++) {
    const t = scaled(values[i], limit, scale);
    const [r, g, b] = table[Math.round(t * 255) + 255];
    pixels.set([r, g, b, over ? Math.min(255, Math.abs(t) * 510) : 255], 4 * i);
  }
  return pixels;
}

/**
 * Pixels (RGBA) of an image (C, H, W) that a network takes or gives.
 * @param {Float32Array} values
 * @param {number[]} shape
 * @param {import("./source.js").Shown} shown
 */
export function photographed(values, shape, shown) {
  const [channels, height, width] = shape;
  const size = height * width;
  const pixels = new Uint8ClampedArray(size * 4);
  for (let k = 0; k < 3; k++) {
    const c = shown.order[k] % channels;
    for (let i = 0; i < size; i++) pixels[4 * i + k] = 255 * (values[c * size + i] * shown.std[c] + shown.mean[c]);
  }
  for (let i = 0; i < size; i++) pixels[4 * i + 3] = 255;
  return pixels;
}
