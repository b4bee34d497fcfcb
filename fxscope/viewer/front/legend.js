// The scale of colours, and the curve of energy against distance.
import { colour, scaled, SCALES } from "./colours.js";
import { make, short } from "./elements.js";

export class Legend {
  constructor() {
    this.bar = make("canvas", { class: "bar-of-colours", width: 255, height: 12, role: "img" });
    this.ends = make("div", { class: "ends" });
    this.note = make("p", { class: "note" });
    this.element = make("div", { class: "legend" }, [this.bar, this.ends, this.note]);
  }

  /** @param {number} limit @param {import("./card.js").Wanted} wanted */
  draw(limit, wanted) {
    const context = this.bar.getContext("2d");
    for (let i = 0; i < 255; i++) {
      const [r, g, b] = colour(scaled((i - 127) / 127, 1, wanted.scale), wanted.theme);
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      context.fillRect(i, 0, 1, 12);
    }
    this.ends.replaceChildren(...[`−${short(limit)}`, "0", `+${short(limit)}`].map((text) => make("span", {}, [text])));
    this.note.textContent = `${SCALES[wanted.scale]}, symmetric, ${wanted.shared ? "of all networks" : "of this picture"}`;
    this.bar.setAttribute("aria-label", `colours from −${short(limit)} (blue) through 0 to +${short(limit)} (orange), ${SCALES[wanted.scale]}`);
  }
}

/**
 * Draw the curve; the distance at which it ends.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} curve
 * @param {number} reach
 */
export function plotEnergy(canvas, curve, reach) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [220 * ratio, 48 * ratio];
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const ink = getComputedStyle(canvas).color;
  const last = Math.max(1, curve.findIndex((share) => share > 0.9999));
  const [left, right, top, bottom] = [4 * ratio, width - 4 * ratio, 4 * ratio, height - 4 * ratio];
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1.5 * ratio;
  context.beginPath();
  for (let i = 0; i <= last; i++) context.lineTo(left + ((right - left) * i) / last, bottom - (bottom - top) * curve[i]);
  context.stroke();
  context.globalAlpha = 0.35;
  context.fillRect(left, bottom, right - left, ratio);
  if (reach >= 0) context.fillRect(left + ((right - left) * reach) / last, top, ratio, bottom - top);
  context.globalAlpha = 1;
  return last;
}
