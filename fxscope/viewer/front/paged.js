// The start of a page that computes by itself, in one file or in a folder: its networks and photographs.
import { App } from "./app.js";
import { make } from "./elements.js";
import { PageSource } from "./source.js";

/** @typedef {import("./source.js").Engine} Engine */

/**
 * Where the parts of the page are.
 * @typedef {Object} Parts
 * @property {any} about  the photographs and the networks
 * @property {Engine} engine
 * @property {(network: any) => Promise<(name: string) => Promise<Uint8Array<ArrayBuffer>>>} opened  give a network to the worker; what finds its arrays
 * @property {(app: App) => Promise<void>} told  say how it runs, when it does
 */

export function checkWebAssembly() {
  if (typeof WebAssembly !== "undefined") return;
  throw new Error("this page computes with WebAssembly, which this browser lacks or has switched off: allow it, or open the page in another browser");
}

/** @param {Uint8Array<ArrayBuffer>} part */
function numbersOf({ buffer, byteOffset, byteLength }) {
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/**
 * The sources of every photograph, in the order of the networks.
 * @param {Parts} parts
 */
async function sourcesOf({ about, engine, opened }) {
  /** @type {PageSource[][]} */
  const photos = about.photos.map(() => []);
  for (const network of about.networks) {
    const part = await opened(network);
    const numbers = async (/** @type {string} */ name) => numbersOf(await part(name));
    network.views.forEach((/** @type {any} */ view, /** @type {number} */ i) => {
      if (view.svd) view.svd.inputs = () => Promise.all(view.svd.s.map((/** @type {number} */ _, /** @type {number} */ k) => numbers(`svd/${i}/${k}`)));
      photos[about.photos.indexOf(view.photo)].push(new PageSource(engine, { ...view, network: network.id }, () => numbers(`x0/${i}`)));
    });
  }
  return photos;
}

/** @param {() => Promise<Parts>} connect */
export async function run(connect) {
  const root = /** @type {HTMLElement} */ (document.getElementById("fxscope-app"));
  try {
    const began = performance.now();
    const parts = await connect();
    const app = new App(root, await sourcesOf(parts), parts.told);
    Object.assign(globalThis, { fxscope: app });
    await app.started;
    document.documentElement.dataset.ready = String(Math.round(performance.now() - began));
  } catch (error) {
    root.replaceChildren(make("p", { class: "failed", role: "alert" }, [String((/** @type {any} */ (error)).message || error)]));
  }
}
