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

/** The numbers of all 65536 halves. */
function halves() {
  return Float32Array.from({ length: 65536 }, (_, bits) => {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    return (bits & 32768 ? -1 : 1) * (exponent === 31 ? (fraction ? NaN : Infinity) : size);
  });
}

/**
 * Weights as their graphs read them, from what is stored: each of the pieces [first byte, stored bytes, half]
 * begins there, as it is or with every half as a float32.
 * @param {Uint8Array<ArrayBuffer>} stored
 * @param {Array<[number, number, boolean]>} pieces
 */
export function widened(stored, pieces) {
  const [start, length, half] = pieces.at(-1) || [0, 0, false];
  const found = new Uint8Array(start + length * (half ? 2 : 1));
  const table = halves();
  let at = 0;
  for (const [first, bytes, isHalf] of pieces) {
    const piece = stored.slice(at, at + bytes);
    at += bytes;
    if (isHalf) found.set(new Uint8Array(Float32Array.from(new Uint16Array(piece.buffer), (bits) => table[bits]).buffer), first);
    else found.set(piece, first);
  }
  return found;
}
