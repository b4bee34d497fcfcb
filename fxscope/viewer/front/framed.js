// The page within a notebook: it asks the page around it, which passes everything on to the kernel.
import { keepHeight } from "./elements.js";
import { show } from "./live.js";
import { decoded } from "./socket.js";

/** Answers as worker.js does, from the kernel. */
class FrameWorker {
  constructor() {
    /** @type {(message: {data: any}) => void} */
    this.onmessage = () => {};
    /** @type {() => void} */
    this.onclose = () => {};
    addEventListener("message", ({ source, data }) => {
      if (source !== parent || !(data instanceof ArrayBuffer)) return;
      this.onmessage({ data: decoded(data) });
    });
  }

  /** @param {{id: number, verb: string, given: any}} question */
  postMessage({ id, verb, given }) {
    const { x0, given: _, dims, inside, proof, ...asked } = given; // the kernel has x0 itself
    parent.postMessage({ id, verb, given: asked }, "*");
  }
}

async function connect() {
  const worker = new FrameWorker();
  keepHeight();
  const about = JSON.parse(document.getElementById("fxscope-about")?.textContent || "[]");
  return { about: async () => about, worker, open: null, address: null };
}

show(connect);
