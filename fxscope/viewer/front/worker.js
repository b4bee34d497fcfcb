// The worker: runs the graphs with onnxruntime-web, one request at a time. A page from disk makes it of the
// runtime's text and this one; in a folder it is a file, and takes the runtime and the graphs from others.
import { outOfPlanes, unpacked, widened } from "./unpack.js";

const HOLDS = 1e-3; // how near a device must come to the law, relative to the largest output

/**
 * A network: its graphs or their addresses, the name of its weights, and what was made of them.
 * @typedef {Object} Network
 * @property {Record<string, Uint8Array|string>} graphs
 * @property {string} weights
 * @property {Record<string, Promise<any>>} sessions
 * @property {Map<string, any>} states  by photograph
 * @property {string} provider          "webgpu" or "wasm"
 * @property {string} said              what became of WebGPU
 * @property {boolean} judged
 */

/** @type {Map<string, Network>} */
const networks = new Map();
/** @type {Map<string, () => Promise<Uint8Array>>} */
const held = new Map();
/** The reason why WebGPU is not used; empty where it is. */
let without = "a page from disk computes with WebAssembly";

/** @returns {any} */
function runtime() {
  return /** @type {any} */ (globalThis).ort;
}

/** @param {string} network @returns {Network} */
function knownOf(network) {
  return /** @type {Network} */ (networks.get(network));
}

/** Why there is no WebGPU; empty if there is. @param {string} wish  "no": leave it out; "any": a device in software will do */
async function lackOfGpu(wish) {
  const { gpu } = /** @type {any} */ (navigator);
  if (wish === "no") return "the address says #webgpu=no";
  if (!gpu) return "this browser has no WebGPU here";
  if (!("Suspending" in WebAssembly)) return "this browser's WebAssembly cannot wait for WebGPU (JSPI)";
  const adapter = await gpu.requestAdapter();
  if (!adapter) return "this browser's WebGPU has no device";
  const soft = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter;
  return soft && wish !== "any" ? "this browser's WebGPU computes in software, which is slower (#webgpu=any takes it)" : "";
}

/**
 * The runtime's code; its first session compiles it. With threads where the page is isolated, which browsers
 * ask before they share memory.
 * @param {{wasm?: Uint8Array, files?: {cpu: string[], gpu: string[]}, wish: string}} given  letters, or addresses of [script, code]
 */
async function start({ wasm, files, wish }) {
  if (files) {
    without = await lackOfGpu(wish);
    const [script, code] = without ? files.cpu : files.gpu;
    /** @type {any} */ (globalThis).ort = await import(script);
    runtime().env.wasm.wasmPaths = { wasm: code };
  } else if (wasm) runtime().env.wasm.wasmBinary = await unpacked(wasm);
  const { env } = runtime();
  env.wasm.numThreads = files && globalThis.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  env.wasm.proxy = false;
  env.logLevel = "error";
  return { threads: env.wasm.numThreads, without };
}

/**
 * Keep weights, once for all networks that read them: as letters of the page, or at an address.
 * @param {{name: string, letters?: Uint8Array, address: string, planes: number, pieces: Array<[number, number, boolean]>|null}} given
 */
async function hold({ name, letters, address, planes, pieces }) {
  const made = async () => {
    const stored = letters ? outOfPlanes(new Uint8Array(await unpacked(letters)), planes) : new Uint8Array(await fetched(address));
    return pieces ? widened(stored, pieces) : stored;
  };
  /** @type {Promise<Uint8Array>|null} */
  let once = null;
  held.set(name, () => (once ??= made()));
}

/** @param {string} address */
async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} is not there (${answer.status}): copy the whole folder to the server`);
  return answer.arrayBuffer();
}

/** @param {{network: string, graphs: Record<string, Uint8Array|string>, weights: string}} given */
async function open({ network, graphs, weights }) {
  networks.set(network, { graphs, weights, sessions: {}, states: new Map(), provider: without ? "wasm" : "webgpu", said: without, judged: Boolean(without) });
}

/** The session of a graph, made when it is first needed. @param {string} network @param {string} form */
function session(network, form) {
  const known = knownOf(network);
  known.sessions[form] ??= made(known, form).catch((error) => {
    delete known.sessions[form];
    throw error;
  });
  return known.sessions[form];
}

/** @param {Network} known @param {string} form */
async function made({ graphs, weights, provider }, form) {
  const graph = graphs[form];
  const data = await /** @type {() => Promise<Uint8Array>} */ (held.get(weights))();
  const bytes = typeof graph === "string" ? new Uint8Array(await fetched(graph)) : graph;
  return runtime().InferenceSession.create(bytes, {
    executionProviders: [provider],
    externalData: data.length ? [{ path: "weights", data }] : [],
  });
}

/** @param {string} network @param {string} form @param {any} state @param {Float32Array|BigInt64Array} given @param {number[]} dims */
async function run(network, form, state, given, dims) {
  const used = await session(network, form);
  const own = used.inputNames.find((/** @type {string} */ name) => !name.startsWith("state."));
  const type = given instanceof Float32Array ? "float32" : "int64";
  const feeds = own ? { [own]: new (runtime().Tensor)(type, given, dims) } : {};
  for (const name of used.inputNames) if (name !== own) feeds[name] = state[name];
  return used.run(feeds);
}

/**
 * What is asked about a network at a photograph.
 * @typedef {{network: string, photo: string, given: Float32Array|BigInt64Array, dims: number[], x0: Float32Array, inside: number[], proof: [number, number]}} At
 */

/** x0 -> y0; what the other graphs need of it stays here. @param {At} asked */
async function record(asked) {
  const known = knownOf(asked.network);
  if (!known.judged) await judge(asked);
  const { y0, ...state } = await run(asked.network, "record", {}, asked.given, asked.dims);
  known.states.set(asked.photo, state);
  return y0.data;
}

/** Whether WebGPU gives F: once for each network, and WebAssembly takes its place where it does not. @param {At} asked */
async function judge(asked) {
  const known = knownOf(asked.network);
  known.judged = true;
  try {
    const off = await offBy(asked);
    if (off <= HOLDS) return void (known.said = `⟨row, x0⟩ + r = y0 within ${off.toExponential(1)} there`);
    known.said = `⟨row, x0⟩ + r = y0 is off by ${off.toExponential(1)} there`;
  } catch (error) {
    known.said = String((/** @type {any} */ (error)).message || error);
  }
  Object.assign(known, { provider: "wasm", sessions: {} });
}

/** The errors of y0, of the law for a row, and of F x0, at the largest output that Python found. @param {At} asked */
async function offBy({ network, given, dims, x0, inside, proof: [place, value] }) {
  const { y0, ...state } = await run(network, "record", {}, given, dims);
  const r = (await run(network, "residual", {}, given, dims)).r.data[place];
  const probe = new Float32Array(y0.data.length);
  probe[place] = 1;
  const [row] = Object.values(await run(network, "pullback", state, probe, y0.dims));
  const [forward] = Object.values(await run(network, "replay", state, x0, inside));
  const linear = row.data.reduce((/** @type {number} */ sum, /** @type {number} */ v, /** @type {number} */ i) => sum + v * x0[i], 0);
  const errors = [y0.data[place] - value, linear + r - value, forward.data[place] + r - value];
  return errors.reduce((most, e) => (Math.abs(e) <= most ? most : Math.abs(e)), 0) / Math.abs(value); // NaN stays
}

/** @param {At} asked */
async function residual({ network, given, dims }) {
  return (await run(network, "residual", {}, given, dims)).r.data;
}

/** F^T y2 or F x1 of a probe that is 0 but in some places. @param {{network: string, photo: string, form: string, probe: Array<[number, number]>, dims: number[]}} asked */
async function product({ network, photo, form, probe, dims }) {
  const given = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (const [place, weight] of probe) given[place] += weight;
  const found = await run(network, form, knownOf(network).states.get(photo), given, dims);
  return Object.values(found)[0].data;
}

/** What went wrong, and what can be done. @param {any} error */
function told(error) {
  const message = String((error && error.message) || error);
  if (message.startsWith("the page ")) return message;
  return /alloc|memory/i.test(message)
    ? `it needs more memory than this browser gives a page (${message}); a page of a smaller --size may run, and fxscope view computes on your machine`
    : `${message}; fxscope view computes it on your machine`;
}

/** Where a network runs, and what was found of WebGPU. @param {{network: string}} asked */
async function runs({ network }) {
  const { provider, said } = knownOf(network);
  return { provider, said };
}

/** @type {Record<string, (given: any) => Promise<any>>} */
const verbs = { start, hold, open, record, residual, product, runs };

onmessage = async ({ data: { id, verb, given } }) => {
  const began = performance.now();
  try {
    const result = await verbs[verb](given);
    postMessage({ id, result, ms: performance.now() - began });
  } catch (error) {
    postMessage({ id, error: told(error) });
  }
};
