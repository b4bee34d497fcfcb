// The start of a page that computes by itself: unpack, start the worker, show.
import { App } from "./app.js";
import { make } from "./elements.js";
import { Engine, PageSource } from "./source.js";
import { bytesOf, gunzip, jsonOf, partsOf, widened } from "./unpack.js";

const GRAPHS = ["record", "residual", "pullback", "replay"];

/** @returns {Promise<Engine>} */
async function started() {
  if (typeof WebAssembly === "undefined") {
    throw new Error("this page computes with WebAssembly, which this browser lacks or has switched off: allow it, or open the page in another browser");
  }
  const runtime = await gunzip(bytesOf("fxscope-runtime"));
  const own = document.getElementById("fxscope-worker")?.textContent || "";
  const url = URL.createObjectURL(new Blob([runtime, own], { type: "text/javascript" }));
  const engine = new Engine(new Worker(url)); // a classic one: from disk, browsers refuse modules
  const wasm = await gunzip(bytesOf("fxscope-wasm"));
  await engine.ask("start", { wasm }, [wasm]);
  return engine;
}

/** @param {Uint8Array<ArrayBuffer>} part */
function numbersOf({ buffer, byteOffset, byteLength }) {
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/**
 * The sources of every photograph, in the order of the networks.
 * @param {Engine} engine
 * @param {any} about
 */
async function sourcesOf(engine, about) {
  /** @type {PageSource[][]} */
  const photos = about.photos.map(() => []);
  for (const network of about.networks) {
    const parts = partsOf(await gunzip(bytesOf(network.id)), network.parts);
    const graphs = Object.fromEntries(GRAPHS.map((form) => [form, parts[form]]));
    const weights = network.pieces ? widened(parts.weights, network.pieces) : parts.weights;
    await engine.ask("open", { network: network.id, graphs, weights });
    network.views.forEach((/** @type {any} */ view, /** @type {number} */ i) => {
      const x0 = numbersOf(parts[`x0/${i}`]);
      if (view.svd) view.svd.inputs = view.svd.s.map((/** @type {number} */ _, /** @type {number} */ k) => numbersOf(parts[`svd/${i}/${k}`]));
      photos[i].push(new PageSource(engine, { ...view, network: network.id }, x0));
    });
  }
  return photos;
}

async function main() {
  const root = /** @type {HTMLElement} */ (document.getElementById("fxscope-app"));
  try {
    const began = performance.now();
    const engine = await started();
    const app = new App(root, await sourcesOf(engine, jsonOf("fxscope-about")));
    Object.assign(globalThis, { fxscope: app });
    await app.started;
    document.documentElement.dataset.ready = String(Math.round(performance.now() - began));
  } catch (error) {
    root.replaceChildren(make("p", { class: "failed", role: "alert" }, [String((/** @type {any} */ (error)).message || error)]));
  }
}

main();
