// What is computed of a row or a column once it is here: one value a pixel, its box, its energy, the law.

/**
 * A picture of one value a pixel.
 * @typedef {{values: Float32Array, height: number, width: number}} Plane
 */

/**
 * The first, last, left and right pixels of a plane that are not 0.
 * @typedef {{top: number, bottom: number, left: number, right: number, count: number}} Box
 */

/**
 * One value a pixel of an array (C, H, W): a channel, the sum of all, or the value of the largest size.
 * @param {Float32Array} values
 * @param {number[]} shape
 * @param {string} shown  "sum", "strongest", or the number of a channel
 * @returns {Plane}
 */
export function planeOf(values, shape, shown) {
  const [channels, height, width] = shape;
  const size = height * width;
  if (shown !== "sum" && shown !== "strongest") {
    const c = Math.min(Number(shown), channels - 1);
    return { values: values.slice(c * size, (c + 1) * size), height, width };
  }
  const plane = new Float32Array(size);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < size; i++) {
      const v = values[c * size + i];
      if (shown === "sum") plane[i] += v;
      else if (Math.abs(v) > Math.abs(plane[i])) plane[i] = v;
    }
  }
  return { values: plane, height, width };
}

/**
 * Element by element, as the contributions row * x0.
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
export function times(a, b) {
  return a.map((v, i) => v * b[i]);
}

/**
 * <a, b>, summed in double precision.
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
export function inner(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * <probe, values>: what a probe reads of an output.
 * @param {Array<[number, number]>} probe
 * @param {Float32Array} values
 */
export function read(probe, values) {
  return probe.reduce((sum, [place, weight]) => sum + weight * values[place], 0);
}

/** @param {Float32Array} values */
export function largest(values) {
  let found = 0;
  for (let i = 0; i < values.length; i++) found = Math.max(found, Math.abs(values[i]));
  return found;
}

/**
 * The box of all channels.
 * @param {Float32Array} values
 * @param {number[]} shape
 * @returns {Box|null}
 */
export function boxOf(values, shape) {
  const [channels, height, width] = shape;
  const box = { top: height, bottom: -1, left: width, right: -1, count: 0 };
  for (let i = 0; i < channels * height * width; i++) {
    if (values[i] === 0) continue;
    const y = Math.floor(i / width) % height;
    const x = i % width;
    box.count++;
    if (y < box.top) box.top = y;
    if (y > box.bottom) box.bottom = y;
    if (x < box.left) box.left = x;
    if (x > box.right) box.right = x;
  }
  return box.count ? box : null;
}

/**
 * The share of the energy (sum of squares) within each distance of a place, from 0 to the farthest corner.
 * @param {Float32Array} values
 * @param {number[]} shape
 * @param {number} y
 * @param {number} x
 * @returns {number[]}
 */
export function energyWithin(values, shape, y, x) {
  const [channels, height, width] = shape;
  const far = Math.ceil(Math.hypot(Math.max(y, height - 1 - y), Math.max(x, width - 1 - x)));
  const rings = new Array(far + 1).fill(0);
  for (let i = 0; i < channels * height * width; i++) {
    const v = values[i];
    if (v === 0) continue;
    const distance = Math.hypot((Math.floor(i / width) % height) - y, (i % width) - x);
    rings[Math.min(far, Math.ceil(distance))] += v * v;
  }
  let sum = 0;
  const within = rings.map((e) => (sum += e));
  return sum ? within.map((e) => e / sum) : within;
}

/** The distance within which 90 % of the energy lies. @param {number[]} within */
export function reachOf(within) {
  return within.findIndex((share) => share >= 0.9);
}

/**
 * The centre in the input, in pixels, of an output (y, x).
 * @param {{step: number[], start: number[]}} alignment
 * @param {number} y
 * @param {number} x
 */
export function centreOf(alignment, y, x) {
  const { step, start } = alignment;
  return [step[0] * y + start[0], step[1] * x + start[1]];
}

/**
 * The output that is centred nearest to a place (y, x) of the input.
 * @param {{step: number[], start: number[]}} alignment
 * @param {number[]} shape  of the output
 * @param {number} y
 * @param {number} x
 */
export function outputAt(alignment, shape, y, x) {
  const { step, start } = alignment;
  return [within((y - start[0]) / step[0], shape[1]), within((x - start[1]) / step[1], shape[2])];
}

/**
 * The nearest number of 0..size-1.
 * @param {number} value
 * @param {number} size
 */
export function within(value, size) {
  return Math.max(0, Math.min(size - 1, Math.round(value)));
}
