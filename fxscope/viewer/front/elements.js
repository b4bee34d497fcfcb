// Making elements of the page.

/**
 * An element with attributes and children; text is a child, and a function is a listener.
 * @param {string} tag
 * @param {Record<string, any>} given
 * @param {Array<Node|string>} children
 * @returns {any}
 */
export function make(tag, given = {}, children = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * A labelled choice.
 * @param {string} label
 * @param {Array<[string, string]>} options  [value, text]
 * @param {string} value
 * @param {(value: string) => void} changed
 */
export function choice(label, options, value, changed) {
  const select = make("select", { "aria-label": label, change: () => changed(select.value) });
  for (const [key, text] of options) select.append(make("option", { value: key }, [text]));
  select.value = value;
  return make("label", { class: "control" }, [make("span", {}, [label]), select]);
}

/**
 * A group of buttons of which one is pressed.
 * @param {string} label
 * @param {Array<[string, string]>} options
 * @param {string} value
 * @param {(value: string) => void} changed
 */
export function switcher(label, options, value, changed) {
  const group = make("div", { class: "switch", role: "group", "aria-label": label });
  const press = (/** @type {string} */ key) => {
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.key === key));
  };
  for (const [key, text] of options) {
    const chosen = () => {
      press(key);
      changed(key);
    };
    group.append(make("button", { type: "button", "data-key": key, click: chosen }, [text]));
  }
  press(value);
  group.press = press;
  return group;
}

/** A number in few letters. @param {number} value */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(size >= 1e4 ? 6 : 4)));
}

/** With its sign. @param {number} value */
export function signed(value) {
  return (value < 0 ? "− " : "+ ") + short(Math.abs(value));
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  return milliseconds < 10_000 ? `${Math.round(milliseconds)} ms` : `${Math.round(milliseconds / 1000)} s`;
}

/** Tell the page around how tall this one is. */
export function keepHeight() {
  const tell = () => parent.postMessage({ height: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
  new ResizeObserver(tell).observe(document.body);
}
