// A worker that is elsewhere: the same questions and answers as those of worker.js, over a socket.
// An answer is id, kind, scale and milliseconds, in four numbers of four bytes, and then what was asked for.

const KINDS = { single: 0, halves: 1, failed: 2, dropped: 3 };

/** @type {Float32Array|null} */
let table = null;

/** The value of every half-precision number, by its bits. */
function halves() {
  if (table) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    table[bits] = bits & 32768 ? -size : size;
  }
  return table;
}

/** @param {ArrayBuffer} data @param {number} scale */
export function fromHalves(data, scale) {
  const values = halves();
  return Float32Array.from(new Uint16Array(data), (bits) => scale * values[bits]);
}

/** @param {ArrayBuffer} data */
export function decoded(data) {
  const head = new DataView(data);
  const [id, kind] = [head.getUint32(0, true), head.getUint32(4, true)];
  const body = data.slice(16);
  if (kind === KINDS.failed || kind === KINDS.dropped) return { id, error: new TextDecoder().decode(body) };
  const result = kind === KINDS.halves ? fromHalves(body, head.getFloat32(8, true)) : new Float32Array(body);
  return { id, result, ms: head.getFloat32(12, true) };
}

export class SocketWorker {
  /** @param {string} url @param {string} token */
  constructor(url, token) {
    this.socket = new WebSocket(url, ["fxscope", token]);
    this.socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => (this.socket.onopen = resolve));
    /** @type {(message: {data: any}) => void} */
    this.onmessage = () => {};
    /** @type {() => void} */
    this.onclose = () => {};
    this.socket.onmessage = ({ data }) => this.onmessage({ data: decoded(data) });
    this.socket.onclose = () => this.onclose();
  }

  /** @param {{id: number, verb: string, given: any}} question */
  async postMessage({ id, verb, given }) {
    const { x0, given: _, dims, inside, proof, ...asked } = given; // the server has x0 itself
    await this.opened;
    this.socket.send(JSON.stringify({ id, verb, given: asked }));
  }
}
