// A canvas that shows pixels, a layer over them, a box and a cross, all at the same zoom.

/**
 * What part is seen: a zoom of 1 or more around a middle, in shares of the width and height.
 * @typedef {{zoom: number, x: number, y: number}} View
 */

/** @param {Uint8ClampedArray<ArrayBuffer>} pixels @param {number} width @param {number} height */
function layerOf(pixels, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

export class Picture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} height
   * @param {number} width
   * @param {View} view
   */
  constructor(canvas, height, width, view) {
    this.canvas = canvas;
    this.height = height;
    this.width = width;
    this.view = view;
    /** @type {HTMLCanvasElement|null} */
    this.under = null;
    /** @type {HTMLCanvasElement|null} */
    this.over = null;
    this.opacity = 1;
    /** @type {import("./filters.js").Box|null} */
    this.box = null;
    /** @type {number[]|null} */
    this.cross = null;
    canvas.style.aspectRatio = `${width} / ${height}`;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** @param {Uint8ClampedArray<ArrayBuffer>} pixels */
  setUnder(pixels) {
    this.under = layerOf(pixels, this.width, this.height);
  }

  /** @param {Uint8ClampedArray<ArrayBuffer>|null} pixels */
  setOver(pixels) {
    this.over = pixels && layerOf(pixels, this.width, this.height);
  }

  /** Pixels of the screen for one of the picture, and where its corner lies. */
  frame() {
    const { zoom, x, y } = this.view;
    const scale = (this.canvas.width / this.width) * zoom;
    return { scale, left: this.canvas.width / 2 - x * this.width * scale, top: this.canvas.height / 2 - y * this.height * scale };
  }

  /** (y, x) in pixels, whole numbers in their middles, of a place of the screen. @param {number} clientX @param {number} clientY */
  at(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.frame();
    const ratio = this.canvas.width / box.width;
    return [((clientY - box.top) * ratio - top) / scale - 0.5, ((clientX - box.left) * ratio - left) / scale - 0.5];
  }

  draw() {
    const { canvas } = this;
    const ratio = globalThis.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    if (!width) return;
    canvas.width = width;
    canvas.height = Math.round((width * this.height) / this.width);
    const context = canvas.getContext("2d");
    if (!context) return;
    const { scale, left, top } = this.frame();
    context.imageSmoothingEnabled = false;
    context.setTransform(scale, 0, 0, scale, left, top);
    if (this.under) context.drawImage(this.under, 0, 0);
    context.globalAlpha = this.opacity;
    if (this.over) context.drawImage(this.over, 0, 0);
    context.globalAlpha = 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.drawMarks(context, ratio);
  }

  /** The box of the support and the cross, dark on light so that they are seen on anything. @param {CanvasRenderingContext2D} context @param {number} ratio */
  drawMarks(context, ratio) {
    const { scale, left, top } = this.frame();
    const path = new Path2D();
    if (this.box) {
      const { left: x, top: y, right, bottom } = this.box;
      path.rect(left + x * scale, top + y * scale, (right - x + 1) * scale, (bottom - y + 1) * scale);
    }
    if (this.cross) {
      const x = left + (this.cross[1] + 0.5) * scale;
      const y = top + (this.cross[0] + 0.5) * scale;
      const [inner, outer] = [4 * ratio, 10 * ratio];
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(x + dx * inner, y + dy * inner);
        path.lineTo(x + dx * outer, y + dy * outer);
      }
    }
    for (const [colour, width] of [["#000c", 3], ["#fff", 1.25]]) {
      context.strokeStyle = String(colour);
      context.lineWidth = Number(width) * ratio;
      context.stroke(path);
    }
  }
}
