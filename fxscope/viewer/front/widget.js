// What a notebook loads: a frame with the page, so that neither the notebook's style nor its keys meet the page's.

/** @param {{model: any, el: HTMLElement}} given  of anywidget */
function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "rows and columns of the network";
  frame.style.cssText = "width: 100%; height: 40rem; border: 0; color-scheme: normal";
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.srcdoc = model.get("_page");
  const asked = (/** @type {MessageEvent} */ { source, data }) => {
    if (source !== frame.contentWindow) return;
    if (data.height) frame.style.height = `${data.height}px`;
    else model.send(data);
  };
  const answered = (/** @type {any} */ _, /** @type {DataView[]} */ buffers) => {
    for (const { buffer, byteOffset, byteLength } of buffers) {
      const copy = buffer.slice(byteOffset, byteOffset + byteLength);
      frame.contentWindow?.postMessage(copy, "*", [copy]);
    }
  };
  window.addEventListener("message", asked);
  model.on("msg:custom", answered);
  el.append(frame);
  return () => {
    window.removeEventListener("message", asked);
    model.off("msg:custom", answered);
  };
}

export default { render };
