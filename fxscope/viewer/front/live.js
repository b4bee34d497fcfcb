// The start of a page before a live network: what is shown is asked of the server that the page came from.
import { App } from "./app.js";
import { make } from "./elements.js";
import { SocketWorker } from "./socket.js";
import { Engine, PageSource } from "./source.js";

const given = new URLSearchParams(location.hash.slice(1));
const allowed = { Authorization: `Bearer ${given.get("token") || ""}` };

/** @param {Response} answer */
async function answered(answer) {
  if (answer.status === 403) throw new Error(await answer.text());
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

/**
 * The sources of a photograph, in the order of the networks.
 * @param {Engine} engine
 * @param {any[]} views
 */
async function sourcesOf(engine, views) {
  const found = [];
  for (const view of views) {
    const { result } = await engine.ask("x0", { network: view.network, photo: view.photo });
    found.push(new PageSource(engine, view, result));
  }
  return found;
}

/** What the address says: the photograph, the place, row or column. @param {App} app */
function fromAddress(app) {
  const number = app.photos.findIndex((sources) => sources[0].describe().photo === given.get("photo"));
  if (number > 0) app.open(number);
  if (given.get("mode") === "column") app.set({ mode: "column" });
  const [y, x] = (given.get("place") || "").split(",").map(Number);
  if (y >= 0 && x >= 0) app.moved({ y, x });
}

/** @param {App} app */
function intoAddress(app) {
  const { mode, place } = app.wanted;
  given.set("networks", app.cards.map((card) => card.about.name).join(" and "));
  given.set("photo", app.cards[0].about.photo);
  given.set("place", `${place.y.toFixed(4)},${place.x.toFixed(4)}`);
  given.set("mode", mode);
  history.replaceState(null, "", `#${given}`);
}

/** Photographs can be dropped onto the page, or chosen. @param {App} app @param {Engine} engine */
function takePhotographs(app, engine) {
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
      const url = `/photographs?name=${encodeURIComponent(file.name)}`;
      const views = await answered(await fetch(url, { method: "POST", headers: allowed, body: file }));
      app.photos.push(await sourcesOf(engine, views));
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

async function main() {
  const root = /** @type {HTMLElement} */ (document.getElementById("fxscope-app"));
  const fail = (/** @type {any} */ error) => root.replaceChildren(make("p", { class: "failed", role: "alert" }, [String(error.message || error)]));
  try {
    const photos = await answered(await fetch("/about", { headers: allowed }));
    const worker = new SocketWorker(`ws://${location.host}/filters`, given.get("token") || "");
    worker.onclose = () => fail(new Error("the server has ended: start fxscope view again"));
    const engine = new Engine(/** @type {any} */ (worker));
    const app = new App(root, await Promise.all(photos.map((/** @type {any[]} */ views) => sourcesOf(engine, views))));
    fromAddress(app);
    takePhotographs(app, engine);
    setInterval(() => intoAddress(app), 500);
    await app.started;
    document.documentElement.dataset.ready = "yes";
    Object.assign(globalThis, { fxscope: app });
  } catch (error) {
    fail(error);
  }
}

main();
