// The view as PNG and SVG: every picture with its caption, the sentence and the law; and the Python lines that make it.

const [SIDE, GAP, LINE] = [360, 16, 20];

/**
 * Where pictures and lines of text stand.
 * @param {import("./app.js").App} app
 */
function laidOut(app) {
  const rows = app.cards.map((card) => [card.photo, card.alone, card.output, card.beyond].filter((each) => each && each.canvas.offsetParent));
  const tall = SIDE + 4 * LINE + GAP;
  /** @type {Array<{canvas: HTMLCanvasElement, x: number, y: number, width: number, height: number}>} */
  const pictures = [];
  /** @type {Array<{text: string, x: number, y: number, bold: boolean}>} */
  const texts = [];
  rows.forEach((row, i) => {
    const [top, card] = [GAP + i * tall, app.cards[i]];
    row.forEach((picture, j) => {
      const { canvas } = /** @type {any} */ (picture);
      const scale = SIDE / Math.max(canvas.width, canvas.height);
      pictures.push({ canvas, x: GAP + j * (SIDE + GAP), y: top, width: canvas.width * scale, height: canvas.height * scale });
    });
    const said = [`${card.about.name}, ${card.about.note}`, card.sentence, card.law.textContent, card.legend.note.textContent];
    said.forEach((text, k) => texts.push({ text: text || "", x: GAP, y: top + SIDE + LINE * (k + 0.9), bold: k === 0 }));
  });
  const width = GAP + Math.max(...rows.map((row) => row.length)) * (SIDE + GAP);
  const { backgroundColor, color } = getComputedStyle(document.body);
  return { width, height: GAP + rows.length * tall, pictures, texts, backgroundColor, color };
}

/** @param {import("./app.js").App} app */
export function drawView(app) {
  const { width, height, pictures, texts, backgroundColor, color } = laidOut(app);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = backgroundColor;
  context.fillRect(0, 0, width, height);
  context.fillStyle = color;
  for (const each of pictures) context.drawImage(each.canvas, each.x, each.y, each.width, each.height);
  for (const { text, x, y, bold } of texts) {
    context.font = `${bold ? "bold " : ""}13px system-ui, sans-serif`;
    context.fillText(text, x, y, width - 2 * GAP);
  }
  return canvas;
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** @param {import("./app.js").App} app */
export function svgOf(app) {
  const { width, height, pictures, texts, backgroundColor, color } = laidOut(app);
  const images = pictures.map((p) => `<image x="${p.x}" y="${p.y}" width="${p.width}" height="${p.height}" href="${p.canvas.toDataURL()}"/>`);
  const lines = texts.map(({ text, x, y, bold }) => `<text x="${x}" y="${y}"${bold ? ' font-weight="bold"' : ""}>${escaped(text)}</text>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<rect width="100%" height="100%" fill="${backgroundColor}"/>`,
    ...images,
    `<g fill="${color}" font-family="system-ui, sans-serif" font-size="13">`,
    ...lines,
    "</g></svg>",
  ].join("\n");
}

/**
 * The index of a flat place.
 * @param {number} flat
 * @param {number[]} shape
 */
function indexOf(flat, shape) {
  const found = [];
  for (const size of [...shape].reverse()) {
    found.unshift(flat % size);
    flat = Math.floor(flat / size);
  }
  return `(${found.join(", ")}${found.length === 1 ? "," : ""})`;
}

/** The lines of Python that compute what is shown. @param {import("./app.js").App} app */
export function pythonOf(app) {
  const lines = ["import torch", "import fxscope", "", "# model is the network, and x0 what it took, an image (1, C, H, W) or numbers of tokens (1, T):"];
  for (const card of app.cards) {
    const { about, filter } = card;
    if (!filter) continue;
    const { mode, probe, at } = filter;
    const shape = mode === "row" ? about.output : about.input;
    lines.push("", `# ${about.name}, ${about.note}; ${about.photo}: ${about.taken}`, `lin = fxscope.interpret(model, x0, policy=${JSON.stringify(about.policy)})`, `# ${mode} of F for ${card.probeName(at, mode)}:`);
    const own = mode === "column" && card.columnLines();
    if (own) lines.push(...own);
    else if (probe.length <= 12) {
      const places = probe.map(([flat, weight]) => `${indexOf(flat, shape)}: ${weight}`);
      lines.push(`${mode} = lin.F.${mode}({${places.join(", ")}})`);
    } else {
      const flats = probe.map(([flat]) => flat).join(", ");
      lines.push(`probe = torch.zeros(${shape.join(", ")})`, `probe.view(-1)[[${flats}]] = ${probe[0][1]}`, `${mode} = lin.F${mode === "row" ? ".T" : ""} @ probe`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** @param {import("./app.js").App} app @param {Blob} blob @param {string} suffix */
function download(app, blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${app.cards[0].about.photo}-${app.wanted.mode}${suffix}`.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {import("./app.js").App} app @param {"png"|"svg"|"py"} kind */
export function saveView(app, kind) {
  if (kind === "svg") download(app, new Blob([svgOf(app)], { type: "image/svg+xml" }), ".svg");
  else if (kind === "py") download(app, new Blob([pythonOf(app)], { type: "text/x-python" }), ".py");
  else drawView(app).toBlob((blob) => blob && download(app, blob, ".png"));
}
