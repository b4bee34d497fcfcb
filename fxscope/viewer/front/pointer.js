// Mouse and fingers on the pictures: move the place, zoom, drag what is seen.

import { centreOf } from "./filters.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./card.js").Card} Card */

/**
 * On the photograph and on the output the pointer is the probe; on a filter it reads numbers, and a click
 * goes there.
 * @param {App} app
 * @param {Card} card
 */
export function followPointer(app, card) {
  const probing = [card.photo, card.output];
  for (const picture of [card.photo, card.alone, card.output, card.beyond]) {
    if (!picture) continue;
    const follower = new Follower(app, card, picture, probing.includes(picture));
    follower.listen();
  }
}

class Follower {
  /** @param {App} app @param {Card} card @param {import("./picture.js").Picture} picture @param {boolean} probes */
  constructor(app, card, picture, probes) {
    this.app = app;
    this.card = card;
    this.picture = picture;
    this.probes = probes;
    /** @type {Map<number, PointerEvent>} */
    this.fingers = new Map();
    /** @type {{x: number, y: number}|null} */
    this.corner = null; // where a region begins
  }

  listen() {
    const { canvas } = this.picture;
    canvas.classList.toggle("probes", this.probes);
    if (this.probes) canvas.tabIndex = 0;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(end, (event) => this.fingers.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** Shares of the photograph at an event. @param {MouseEvent} event */
  placeOf(event) {
    const { picture, card } = this;
    const [y, x] = picture.at(event.clientX, event.clientY);
    const { alignment, input } = card.about;
    const inOutput = picture === card.output || picture === card.beyond;
    const at = inOutput && alignment ? centreOf(alignment, y, x) : [y, x];
    return { y: (at[0] + 0.5) / input[1], x: (at[1] + 0.5) / input[2] };
  }

  /** @param {PointerEvent} event */
  down(event) {
    this.fingers.set(event.pointerId, event);
    if (this.fingers.size > 1) return;
    const mouse = event.pointerType === "mouse";
    this.corner = mouse && this.probes && event.shiftKey ? this.placeOf(event) : null;
    if (mouse && this.probes) this.app.held = this.corner !== null || !this.app.held;
    if (mouse && this.probes) this.app.root.classList.toggle("held", this.app.held);
    this.app.moved(this.placeOf(event));
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (this.fingers.size === 2 && before) return this.pinch(event, before);
    if (this.corner && before) return this.app.boxed(this.corner, this.placeOf(event));
    this.card.readAt(this.picture, this.picture.at(event.clientX, event.clientY));
    const hovers = event.pointerType === "mouse" && !this.app.held;
    if (this.probes && (hovers || (before && event.pointerType !== "mouse"))) this.app.moved(this.placeOf(event));
  }

  /** Two fingers: their distance zooms, and what is seen goes with them. @param {PointerEvent} event @param {PointerEvent} before */
  pinch(event, before) {
    const [other] = [...this.fingers.values()].filter((each) => each.pointerId !== event.pointerId);
    const apart = (/** @type {PointerEvent} */ one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    this.fingers.set(event.pointerId, event);
    const { view } = this.app.wanted;
    view.zoom = Math.max(1, Math.min(40, (view.zoom * apart(event)) / Math.max(1, apart(before))));
    const width = this.picture.canvas.clientWidth * view.zoom;
    this.app.look({ x: view.x - (event.clientX - before.clientX) / 2 / width, y: view.y - (event.clientY - before.clientY) / 2 / width });
  }

  /** With ctrl the wheel zooms, and where it is zoomed it moves what is seen; else the page scrolls. @param {WheelEvent} event */
  wheel(event) {
    const { view } = this.app.wanted;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const place = this.placeOf(event);
      const zoom = Math.max(1, Math.min(40, view.zoom * Math.exp(-event.deltaY / 200)));
      const kept = view.zoom / zoom;
      view.zoom = zoom;
      this.app.look({ x: place.x + (view.x - place.x) * kept, y: place.y + (view.y - place.y) * kept });
    } else if (view.zoom > 1) {
      event.preventDefault();
      const width = this.picture.canvas.clientWidth * view.zoom;
      this.app.look({ x: view.x + event.deltaX / width, y: view.y + event.deltaY / width });
    }
  }
}
