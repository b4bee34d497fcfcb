// The page in one file: everything is in it, as letters, and the worker unpacks the large parts.
import { keepHeight } from "./elements.js";
import { checkWebAssembly, run } from "./paged.js";
import { Engine } from "./source.js";
import { jsonOf, lettersOf, partsOf, unpacked } from "./unpack.js";

const GRAPHS = ["record", "residual", "pullback", "replay"];

async function connect() {
  if (parent !== window) keepHeight();
  checkWebAssembly();
  const about = jsonOf("fxscope-about");
  const runtime = await unpacked(lettersOf("fxscope-runtime"));
  const own = document.getElementById("fxscope-worker")?.textContent || "";
  const url = URL.createObjectURL(new Blob([runtime, own], { type: "text/javascript" }));
  const engine = new Engine(new Worker(url)); // a classic one: from disk, browsers refuse modules
  const wasm = lettersOf("fxscope-wasm");
  await engine.ask("start", { wasm }, [wasm.buffer]);
  for (const { name, planes, pieces } of about.weights) {
    const letters = lettersOf(name);
    await engine.ask("hold", { name, letters, planes, pieces }, [letters.buffer]);
  }
  const opened = async (/** @type {any} */ network) => {
    const parts = partsOf(await unpacked(lettersOf(network.id)), network.parts);
    const graphs = Object.fromEntries(GRAPHS.map((form) => [form, parts[form]]));
    await engine.ask("open", { network: network.id, graphs, weights: network.weights });
    return async (/** @type {string} */ name) => parts[name];
  };
  return { about, engine, opened, told: async () => {} };
}

run(connect);
