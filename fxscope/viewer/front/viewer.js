// The page of a server on this machine, which it asks for everything, with the token of its address.
import { show } from "./live.js";
import { SocketWorker } from "./socket.js";

/** @param {Response} answer */
async function answered(answer) {
  if (answer.status === 403) throw new Error(await answer.text());
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function connect() {
  const address = new URLSearchParams(location.hash.slice(1));
  const token = address.get("token") || "";
  const headers = { Authorization: `Bearer ${token}` };
  const about = await answered(await fetch("/about", { headers }));
  const open = async (/** @type {File} */ file) => {
    const url = `/photographs?name=${encodeURIComponent(file.name)}`;
    return answered(await fetch(url, { method: "POST", headers, body: file }));
  };
  return { about: async () => about, worker: new SocketWorker(`ws://${location.host}/filters`, token), open, address };
}

show(connect);
