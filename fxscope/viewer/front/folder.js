// The page of a folder on a web server: its files are fetched when they are needed.
import { checkWebAssembly, run } from "./paged.js";
import { Engine } from "./source.js";
import { jsonOf } from "./unpack.js";

/** @param {string} name */
function addressOf(name) {
  return new URL(name, document.baseURI).href;
}

/** @param {string} name @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function fetchedPart(name) {
  const answer = await fetch(addressOf(name));
  if (!answer.ok) throw new Error(`${name} is not there (${answer.status}): copy the whole folder to the server`);
  return new Uint8Array(await answer.arrayBuffer());
}

/**
 * How the networks run: threads, and what became of WebGPU.
 * @param {Engine} engine @param {any[]} networks @param {number} threads
 */
async function sentenceOf(engine, networks, threads) {
  const isolated = globalThis.crossOriginIsolated;
  const why = isolated ? "the page is isolated" : "the server does not isolate the page, as threads need: it sends no Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy, or it is no https";
  const found = [`WebAssembly on ${threads} thread${threads === 1 ? "" : "s"} (${why}).`];
  for (const { id, views } of networks) {
    const { result } = await engine.ask("runs", { network: id });
    const used = result.provider === "webgpu" ? "runs on WebGPU" : "runs without WebGPU";
    found.push(`${views[0].name} ${used}: ${result.said}.`);
  }
  return [...new Set(found)].join(" ");
}

async function connect() {
  checkWebAssembly();
  if (location.protocol === "file:") throw new Error("this folder is for a web server, and browsers fetch nothing from disk: fxscope page -o page.html writes one file that opens from disk");
  const about = jsonOf("fxscope-about");
  const engine = new Engine(new Worker(addressOf(about.worker)));
  const at = (/** @type {string[]} */ names) => names.map(addressOf);
  const wish = new URLSearchParams(location.hash.slice(1)).get("webgpu");
  const { result } = await engine.ask("start", { files: { cpu: at(about.runtime.cpu), gpu: at(about.runtime.gpu) }, wish });
  for (const { name, address, pieces } of about.weights) await engine.ask("hold", { name, address: addressOf(address), pieces });
  const opened = async (/** @type {any} */ network) => {
    const graphs = Object.fromEntries(Object.entries(network.graphs).map(([form, name]) => [form, addressOf(name)]));
    await engine.ask("open", { network: network.id, graphs, weights: network.weights });
    return (/** @type {string} */ name) => fetchedPart(network.arrays[name]);
  };
  const told = async (/** @type {import("./app.js").App} */ app) => {
    const shown = about.networks.filter((/** @type {any} */ network) => app.cards.some((card) => card.about.name === network.views[0].name));
    app.runs.textContent = await sentenceOf(engine, shown, result.threads);
  };
  return { about, engine, opened, told };
}

run(connect);
