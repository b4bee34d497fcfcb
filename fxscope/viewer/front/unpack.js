// What Python packed into the page: JSON, and bytes that are compressed and written as letters.

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

/**
 * @param {string} id
 * @returns {Element}
 */
function partOf(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page is incomplete: it has no part "${id}"; download it again`);
  return element;
}

/** @param {string} id */
export function jsonOf(id) {
  return JSON.parse(partOf(id).textContent || "");
}

/**
 * The letters of a part, which the page then forgets: a part is unpacked once.
 * @param {string} id
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function lettersOf(id) {
  const element = partOf(id);
  const letters = new TextEncoder().encode(element.textContent || "");
  element.textContent = "";
  return letters;
}

/**
 * Bytes of letters, four of five; the first letter is the number of bytes that only filled up the last four.
 * @param {Uint8Array} letters
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(letters) {
  const digits = new Uint8Array(128);
  for (let i = 0; i < 85; i++) digits[LETTERS.charCodeAt(i)] = i;
  const bytes = new Uint8Array((4 * (letters.length - 1)) / 5);
  for (let i = 1, j = 0; i < letters.length; i += 5, j += 4) {
    const high = (digits[letters[i]] * 85 + digits[letters[i + 1]]) * 85 + digits[letters[i + 2]];
    const word = (high * 85 + digits[letters[i + 3]]) * 85 + digits[letters[i + 4]];
    bytes[j] = word >>> 24;
    bytes[j + 1] = word >>> 16;
    bytes[j + 2] = word >>> 8;
    bytes[j + 3] = word;
  }
  return bytes.subarray(0, bytes.length - digits[letters[0]]);
}

/**
 * @param {Uint8Array} letters
 * @returns {Promise<ArrayBuffer>}
 */
export async function unpacked(letters) {
  if (!("DecompressionStream" in globalThis)) {
    throw new Error("this browser cannot unpack the page (no DecompressionStream): open it in a newer one");
  }
  const stream = new Blob([bytesOf(letters)]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return await new Response(stream).arrayBuffer();
  } catch {
    throw new Error("the page is damaged: one of its parts cannot be unpacked; download it again");
  }
}

/**
 * Numbers of so many bytes, from the first bytes of all of them, then their second ones, and so on.
 * @param {Uint8Array<ArrayBuffer>} planes
 * @param {number} width
 */
export function outOfPlanes(planes, width) {
  const count = planes.length / width;
  const found = new Uint8Array(planes.length);
  for (let k = 0; k < width; k++) {
    const plane = planes.subarray(k * count, (k + 1) * count);
    for (let i = 0, j = k; i < count; i++, j += width) found[j] = plane[i];
  }
  return found;
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
