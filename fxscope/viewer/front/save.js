// The view as a PNG: every picture with its caption, the sentence and the law.

const [SIDE, GAP, LINE] = [360, 16, 20];

/** @param {import("./app.js").App} app */
export function drawView(app) {
  const canvas = document.createElement("canvas");
  const rows = app.cards.map((card) => [card.photo, card.alone, card.output, card.beyond].filter((each) => each && each.canvas.offsetParent));
  const tall = SIDE + 4 * LINE + GAP;
  canvas.width = GAP + Math.max(...rows.map((row) => row.length)) * (SIDE + GAP);
  canvas.height = GAP + rows.length * tall;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const style = getComputedStyle(document.body);
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.color;
  rows.forEach((row, i) => {
    const top = GAP + i * tall;
    row.forEach((picture, j) => {
      const { width, height } = /** @type {any} */ (picture).canvas;
      const scale = SIDE / Math.max(width, height);
      context.drawImage(/** @type {any} */ (picture).canvas, GAP + j * (SIDE + GAP), top, width * scale, height * scale);
    });
    const said = [`${app.cards[i].about.name}, ${app.cards[i].about.note}`, app.cards[i].sentence, app.cards[i].law.textContent, app.cards[i].legend.note.textContent];
    said.forEach((text, k) => {
      context.font = `${k ? "" : "bold "}13px system-ui, sans-serif`;
      context.fillText(text || "", GAP, top + SIDE + LINE * (k + 0.9), canvas.width - 2 * GAP);
    });
  });
  return canvas;
}

/** @param {import("./app.js").App} app */
export function saveView(app) {
  drawView(app).toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${app.cards[0].about.photo}-${app.wanted.mode}.png`.replace(/[^\w.-]+/g, "_");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
