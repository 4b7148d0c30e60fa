// Pointer, wheel and keys: on the canvas, and on what is dragged over it.

/** `actions`: {rotate(dx, dy), pan(dx, dy), zoom(factor), reset(), fullSize()} in canvas pixels. */
export function bindCanvas(canvas, actions) {
  const pointers = new Map();
  const ratio = () => canvas.width / Math.max(canvas.clientWidth, 1);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  const release = (event) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [0, 1].map((k) => (now[k] - before[k]) * ratio());
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      actions.zoom(distance(before) / Math.max(distance(now), 1));
      actions.pan(dx / 2, dy / 2);
    } else if (event.buttons & 6 || event.shiftKey) {
      actions.pan(dx, dy);
    } else {
      actions.rotate(dx, dy);
    }
    pointers.set(event.pointerId, now);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    actions.zoom(Math.exp(Math.max(Math.min(event.deltaY, 100), -100) * 0.0018));
  }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => actions.reset());
  const keys = {
    ArrowLeft: () => actions.rotate(-20, 0), ArrowRight: () => actions.rotate(20, 0), ArrowUp: () => actions.rotate(0, -20), ArrowDown: () => actions.rotate(0, 20),
    "+": () => actions.zoom(0.9), "=": () => actions.zoom(0.9), "-": () => actions.zoom(1.1), 0: () => actions.reset(), 1: () => actions.fullSize(),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
}

/** Drag an element; `move(x, y, dx, dy)` gets places in shares of the stage and steps in CSS pixels. */
export function bindDrag(element, stage, move) {
  let before = null;
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    before = [event.clientX, event.clientY];
    event.preventDefault();
    element.focus();
  });
  element.addEventListener("pointermove", (event) => {
    if (!before) return;
    const box = stage.getBoundingClientRect();
    move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, event.clientX - before[0], event.clientY - before[1]);
    before = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (before = null));
}

export function bindArrows(element, move) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  element.addEventListener("keydown", (event) => {
    if (!steps[event.key]) return;
    event.preventDefault();
    move(...steps[event.key]);
  });
}
