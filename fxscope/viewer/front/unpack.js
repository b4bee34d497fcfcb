// What Python packed into the page: JSON, and bytes that are gzipped and written in base64.

/**
 * @param {string} id
 * @returns {string}
 */
function textOf(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page is incomplete: it has no part "${id}"; download it again`);
  return element.textContent || "";
}

/** @param {string} id */
export function jsonOf(id) {
  return JSON.parse(textOf(id));
}

/**
 * @param {string} id
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf(id) {
  const letters = atob(textOf(id).trim());
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<ArrayBuffer>}
 */
export function gunzip(bytes) {
  if (!("DecompressionStream" in globalThis)) {
    throw new Error("this browser cannot unpack the page (no DecompressionStream): open it in a newer one");
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/**
 * The packed parts by name: [name, first byte, length] of each stand in the index.
 * @param {ArrayBuffer} packed
 * @param {Array<[string, number, number]>} index
 * @returns {Record<string, Uint8Array<ArrayBuffer>>}
 */
export function partsOf(packed, index) {
  return Object.fromEntries(index.map(([name, start, length]) => [name, new Uint8Array(packed, start, length)]));
}
