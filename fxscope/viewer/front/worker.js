// The worker: runs the graphs with onnxruntime-web, one request at a time. It is no module of the page: the
// page makes a worker of the runtime's text and this one.
/* global ort */

/** @type {Map<string, any>} */
const networks = new Map();

/** Keep the runtime's code; its first session compiles it. */
function start({ wasm }) {
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "error";
}

function open({ network, graphs, weights }) {
  networks.set(network, { graphs, weights, sessions: {}, states: new Map() });
}

/** The session of a graph, made when it is first needed; all of a network read the same weights. */
async function session(network, form) {
  const known = networks.get(network);
  if (!known.sessions[form]) {
    known.sessions[form] = await ort.InferenceSession.create(known.graphs[form], {
      executionProviders: ["wasm"],
      externalData: known.weights.length ? [{ path: "weights", data: known.weights }] : [],
    });
  }
  return known.sessions[form];
}

async function run(network, form, state, given, dims) {
  const made = await session(network, form);
  const own = made.inputNames.find((name) => !name.startsWith("state."));
  const feeds = own ? { [own]: new ort.Tensor("float32", given, dims) } : {};
  for (const name of made.inputNames) if (name !== own) feeds[name] = state[name];
  return made.run(feeds);
}

/** x0 -> y0; what the other graphs need of it stays here. */
async function record({ network, photo, x0, dims }) {
  const found = await run(network, "record", {}, x0, dims);
  const { y0, ...state } = found;
  networks.get(network).states.set(photo, state);
  return y0.data;
}

async function residual({ network, x0, dims }) {
  return (await run(network, "residual", {}, x0, dims)).r.data;
}

/** F^T y2 or F x1 of a probe that is 0 but in some places. */
async function product({ network, photo, form, probe, dims }) {
  const given = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (const [place, weight] of probe) given[place] += weight;
  const state = networks.get(network).states.get(photo);
  const found = await run(network, form, state, given, dims);
  return Object.values(found)[0].data;
}

const verbs = { start, open, record, residual, product };

onmessage = async ({ data: { id, verb, given } }) => {
  const began = performance.now();
  try {
    const result = await verbs[verb](given);
    postMessage({ id, result, ms: performance.now() - began });
  } catch (error) {
    postMessage({ id, error: String((error && error.message) || error) });
  }
};
