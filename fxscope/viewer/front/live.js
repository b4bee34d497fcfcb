// A page before a live network: what is shown is asked of somebody else, a server or a notebook.
import { App } from "./app.js";
import { make } from "./elements.js";
import { Engine, PageSource } from "./source.js";

/**
 * Who is asked.
 * @typedef {Object} Transport
 * @property {() => Promise<any[]>} about                         what is shown of each photograph
 * @property {any} worker                                          answers as worker.js does
 * @property {((file: File) => Promise<any[]>)|null} open          take a photograph; null: only those that are there
 * @property {URLSearchParams|null} address                        what the address says; null: there is none
 */

/**
 * The sources of a photograph, in the order of the networks.
 * @param {Engine} engine
 * @param {any[]} views
 */
function sourcesOf(engine, views) {
  return views.map((view) => {
    const x0 = async () => (await engine.ask("x0", { network: view.network, photo: view.photo })).result;
    return new PageSource(engine, view, x0);
  });
}

/** What the address says: the photograph, the place, row or column. @param {App} app @param {URLSearchParams} given */
function fromAddress(app, given) {
  const number = app.photos.findIndex((sources) => sources[0].describe().photo === given.get("photo"));
  if (number > 0) app.open(number);
  if (given.get("mode") === "column") app.set({ mode: "column" });
  const [y, x] = (given.get("place") || "").split(",").map(Number);
  if (y >= 0 && x >= 0) app.moved({ y, x });
}

/** @param {App} app @param {URLSearchParams} given */
function intoAddress(app, given) {
  const { mode, place } = app.wanted;
  given.set("networks", app.cards.map((card) => card.about.name).join(" and "));
  given.set("photo", app.cards[0].about.photo);
  given.set("place", `${place.y.toFixed(4)},${place.x.toFixed(4)}`);
  given.set("mode", mode);
  history.replaceState(null, "", `#${given}`);
}

/**
 * Photographs can be dropped onto the page, or chosen.
 * @param {App} app
 * @param {Engine} engine
 * @param {(file: File) => Promise<any[]>} opened
 */
function takePhotographs(app, engine, opened) {
  const said = make("p", { class: "note", role: "status" }, ["Drop a photograph onto the page, or "]);
  const input = make("input", { type: "file", accept: "image/*", "aria-label": "choose a photograph" });
  said.append(input);
  app.root.before(said);
  const told = make("p", { class: "note", role: "alert" });
  said.after(told);
  const open = async (/** @type {File|undefined} */ file) => {
    if (!file) return;
    told.textContent = `${file.name} is being read …`;
    try {
      app.photos.push(sourcesOf(engine, await opened(file)));
      app.open(app.photos.length - 1);
      told.textContent = "";
    } catch (error) {
      told.textContent = String((/** @type {any} */ (error)).message || error);
    }
  };
  input.addEventListener("change", () => open(input.files?.[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    open(event.dataTransfer?.files[0]);
  });
}

/** @param {() => Promise<Transport>} connect */
export async function show(connect) {
  const root = /** @type {HTMLElement} */ (document.getElementById("fxscope-app"));
  const fail = (/** @type {any} */ error) => root.replaceChildren(make("p", { class: "failed", role: "alert" }, [String(error.message || error)]));
  try {
    const { about, worker, open, address } = await connect();
    worker.onclose = () => fail(new Error("what computes here has ended: start it again"));
    const engine = new Engine(worker);
    const photos = await about();
    const app = new App(root, photos.map((/** @type {any[]} */ views) => sourcesOf(engine, views)));
    if (address) {
      fromAddress(app, address);
      setInterval(() => intoAddress(app, address), 500);
    }
    if (open) takePhotographs(app, engine, open);
    await app.started;
    document.documentElement.dataset.ready = "yes";
    Object.assign(globalThis, { fxscope: app });
  } catch (error) {
    fail(error);
  }
}
