// Demonstrations within another page: each button opens its own in a frame, and all share one copy of the runtime.
// Before a button is pressed, nothing of them is unpacked.

/** @param {string} id  of a template */
function contentOf(id) {
  const template = document.getElementById(id);
  if (!template) throw new Error(`the page is incomplete: it has no part "${id}"; make it again`);
  return template.innerHTML;
}

/** @param {HTMLButtonElement} button */
function open(button) {
  const shell = JSON.parse(document.getElementById("fxscope-shell")?.textContent || '""');
  const data = contentOf("fxscope-shared") + contentOf(button.dataset.live || "");
  const frame = document.createElement("iframe");
  frame.className = "live";
  frame.title = button.dataset.title || "";
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.srcdoc = shell.replace("<!--data-->", () => data);
  button.after(frame);
  button.classList.add("opened"); // it is not seen any more, but for the printer
  frame.focus();
}

for (const button of document.querySelectorAll("button[data-live]")) {
  button.addEventListener("click", () => open(/** @type {HTMLButtonElement} */ (button)));
}

addEventListener("message", ({ source, data }) => {
  for (const frame of document.querySelectorAll("iframe")) {
    if (frame.contentWindow === source && data.height > 0) frame.style.height = `${data.height}px`;
  }
});
