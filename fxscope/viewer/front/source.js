// A source of filters: where the views get rows and columns from. This one computes in the page; another
// may ask a server or a notebook, with the same few functions.

/**
 * A probe: [flat place, weight] of everything in it that is not 0. One place gives a row or a column, several
 * the sum of theirs.
 * @typedef {Array<[number, number]>} Probe
 */

/**
 * A row or a column, flat, in the shape of the input or of the output.
 * @typedef {{values: Float32Array, ms: number, again: boolean}} Filter
 */

/**
 * How a flat array is shown as pixels in 0..1: p = value * std + mean, channel by channel.
 * @typedef {{mean: number[], std: number[], order: number[]}} Shown
 */

/**
 * A network at one photograph.
 * @typedef {Object} Described
 * @property {string} name
 * @property {string} note            what weights it has, and the policy
 * @property {string} policy
 * @property {"images"|"scores"|"tokens"} kind
 * @property {number[]} input         (C, H, W) of x0, or (T, D) of the embeddings of tokens
 * @property {number[]} output        (C, H, W) of y0, or (N,), or (T, N)
 * @property {Shown} shownInput
 * @property {Shown} shownOutput
 * @property {{step: number[], start: number[]}|null} alignment  output o is centred on step * o + start
 * @property {string[]|null} names    of the scores
 * @property {string} photo           the photograph's name
 * @property {string} taken           how the photograph became x0
 * @property {Array<[string, number]>|null} contributions  by layer, of the largest output
 * @property {{s: number[], inputs: () => Promise<Float32Array[]>}|null} svd  singular values and eigen-inputs
 * @property {string[]} [tokens]      how they are written
 * @property {number[]} [feeds]       their numbers, which the graphs of x0 alone take
 * @property {{labels: number[], winners: number[]}|null} votes  of each pixel, which of the labels it speaks for
 * @property {boolean} reduced        whether it is there for its size: another has the photograph larger
 * @property {[number, number]} proof  the flat place of the largest output, and what Python found there
 */

/**
 * @typedef {Object} Source
 * @property {() => Described} describe
 * @property {() => Promise<{x0: Float32Array, y0: Float32Array}>} record   the network at its photograph
 * @property {() => Promise<Float32Array>} residual                        r, in the shape of y0
 * @property {(probe: Probe, atRest?: boolean) => Promise<Filter|null>} row     null: a newer wish came
 * @property {(probe: Probe, atRest?: boolean) => Promise<Filter|null>} column
 */

const LONGEST = 64; // places of a probe whose filter is kept
const CACHE = 96e6; // bytes of rows and columns that are kept

/** Requests to the worker: one runs, of each lane the newest waits, and those at rest come last. */
export class Engine {
  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
    /** @type {Map<number, {resolve: Function, reject: Function}>} */
    this.asked = new Map();
    /** @type {Map<string, {job: () => Promise<any>, resolve: Function, reject: Function}>} */
    this.waiting = new Map();
    this.count = 0;
    this.busy = false;
    worker.onmessage = ({ data }) => this.answered(data);
    worker.onerror = (event) => this.failed(event.message || "its worker does not start");
  }

  /** @param {{id: number, result?: any, error?: string, ms?: number}} data */
  answered({ id, result, error, ms }) {
    const known = this.asked.get(id);
    this.asked.delete(id);
    if (!known) return;
    if (error === undefined) known.resolve({ result, ms });
    else known.reject(new Error(error));
  }

  /** @param {string} message */
  failed(message) {
    for (const { reject } of this.asked.values()) reject(new Error(message));
    this.asked.clear();
  }

  /**
   * @param {string} verb
   * @param {any} given
   * @param {Transferable[]} moved
   * @returns {Promise<{result: any, ms: number}>}
   */
  ask(verb, given, moved = []) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.asked.set(id, { resolve, reject });
      this.worker.postMessage({ id, verb, given }, moved);
    });
  }

  /**
   * Run a job when its turn comes; null if a newer one of the same lane came before.
   * @template T
   * @param {string} lane
   * @param {() => Promise<T>} job
   * @returns {Promise<T|null>}
   */
  wish(lane, job) {
    return new Promise((resolve, reject) => {
      const older = this.waiting.get(lane);
      if (older) older.resolve(null);
      this.waiting.set(lane, { job, resolve, reject });
      this.next();
    });
  }

  next() {
    if (this.busy || !this.waiting.size) return;
    const lanes = [...this.waiting.keys()];
    const lane = lanes.find((name) => !name.startsWith("rest")) || lanes[0];
    const known = this.waiting.get(lane);
    this.waiting.delete(lane);
    if (!known) return;
    this.busy = true;
    known
      .job()
      .then((found) => known.resolve(found))
      .catch((error) => known.reject(error))
      .finally(() => {
        this.busy = false;
        this.next();
      });
  }

  get idle() {
    return !this.busy && !this.waiting.size;
  }
}

/** The newest arrays, up to so many bytes. */
class Kept {
  constructor() {
    /** @type {Map<string, Float32Array>} */
    this.known = new Map();
    this.bytes = 0;
  }

  /** @param {string} key */
  get(key) {
    const found = this.known.get(key);
    if (found) {
      this.known.delete(key);
      this.known.set(key, found);
    }
    return found;
  }

  /** @param {string} key @param {Float32Array} values */
  set(key, values) {
    this.known.set(key, values);
    this.bytes += values.byteLength;
    for (const [oldest, each] of this.known) {
      if (this.bytes <= CACHE || this.known.size === 1) break;
      this.known.delete(oldest);
      this.bytes -= each.byteLength;
    }
  }
}

const kept = new Kept();

/** @implements {Source} */
export class PageSource {
  /**
   * @param {Engine} engine
   * @param {Described & {network: string}} described
   * @param {() => Promise<Float32Array>} found  x0, when it is needed
   */
  constructor(engine, described, found) {
    this.engine = engine;
    this.described = described;
    this.found = found;
    /** @type {Promise<Float32Array>|null} */
    this.known = null;
    this.own = `${described.network}/${described.photo}`;
    /** @type {Promise<any>|null} */
    this.recorded = null;
    /** @type {Promise<Float32Array>|null} */
    this.r = null;
  }

  describe() {
    return this.described;
  }

  get given() {
    return { network: this.described.network, photo: this.described.photo };
  }

  /** x0, fetched once. */
  x0() {
    return (this.known ??= this.found());
  }

  /** A graph of x0 alone. @param {"record"|"residual"} verb */
  async at(verb) {
    const { input, feeds, proof } = this.described;
    const [x0, inside] = [await this.x0(), [1, ...input]];
    const taken = feeds ? { given: BigInt64Array.from(feeds, BigInt), dims: [1, feeds.length] } : { given: x0, dims: inside };
    const given = { ...this.given, ...taken, x0, inside, proof };
    return (await this.engine.wish(`${verb}/${this.own}`, () => this.engine.ask(verb, given)))?.result;
  }

  record() {
    this.recorded ??= this.at("record").then(async (y0) => ({ x0: await this.x0(), y0 }));
    return this.recorded;
  }

  residual() {
    return (this.r ??= this.at("residual"));
  }

  /** @param {Probe} probe @param {boolean} atRest */
  row(probe, atRest = false) {
    return this.product("pullback", probe, [1, ...this.described.output], atRest);
  }

  /** @param {Probe} probe @param {boolean} atRest */
  column(probe, atRest = false) {
    return this.product("replay", probe, [1, ...this.described.input], atRest);
  }

  /**
   * @param {string} form
   * @param {Probe} probe
   * @param {number[]} dims
   * @param {boolean} atRest
   * @returns {Promise<Filter|null>}
   */
  async product(form, probe, dims, atRest) {
    const key = probe.length > LONGEST ? "" : `${this.own}/${form}/${probe.join(";")}`;
    const known = kept.get(key);
    if (known) return { values: known, ms: 0, again: true };
    await this.record();
    const lane = `${atRest ? "rest" : "now"}/${this.described.network}`;
    const found = await this.engine.wish(lane, () => this.engine.ask("product", { ...this.given, form, probe, dims }));
    if (!found) return null;
    if (key) kept.set(key, found.result);
    return { values: found.result, ms: found.ms, again: false };
  }
}
