// Draws the life of the access tokens: plain SVG, no library. Times are milliseconds since the epoch.

const SVG = "http://www.w3.org/2000/svg";
const ROW = 30; // pixels, as all sizes here
const BAR = 22;
const TOP = 26;
const STEP = 10_000; // between two lines of the grid

/**
 * @typedef {{generation: number, issued: number, refreshAt: number, expires: number}} Life
 * @param {SVGSVGElement} svg
 * @param {{lives: Life[], failures: number[], now: number}} history
 */
export function drawTimeLine(svg, { lives, failures, now }) {
  const width = svg.clientWidth || 800;
  const height = svg.clientHeight || 150;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const newest = lives.at(-1);
  if (!newest) {
    add(svg, "text", { x: width / 2, y: height / 2, class: "nothing" }, "Sign in, and the first access token appears here.");
    return;
  }
  const lifetime = newest.expires - newest.issued;
  const past = lifetime * (width < 600 ? 1.2 : 2.4);
  const span = past + lifetime * 1.15;
  const x = (time) => ((time - now + past) / span) * width;

  drawGrid(svg, { x, now, from: now - past, to: now - past + span, height });
  lives.forEach((life, index) => {
    if (x(life.expires) >= 0) drawLife(svg, { life, previous: lives[index - 1], next: lives[index + 1], x });
  });
  for (const time of failures) drawCross(svg, x(time), TOP + 2 * ROW + 8);
  add(svg, "line", { x1: x(now), x2: x(now), y1: 6, y2: height - 20, class: "now" });
}

function drawGrid(svg, { x, now, from, to, height }) {
  // A line of the grid stands for a time relative to now, so that the numbers hold still and the bars move.
  const step = Math.ceil((to - from) / (12 * STEP)) * STEP;
  for (let time = now - Math.floor((now - from) / step) * step; time < to; time += step) {
    add(svg, "line", { x1: x(time), x2: x(time), y1: 8, y2: height - 20, class: "grid" });
    const seconds = Math.round((time - now) / 1000);
    const label = seconds === 0 ? "now" : `${seconds > 0 ? "+" : "−"}${Math.abs(seconds)} s`;
    add(svg, "text", { x: x(time), y: height - 5, "text-anchor": "middle" }, label);
  }
}

function drawLife(svg, { life, previous, next, x }) {
  const y = rowOf(life);
  const group = add(svg, "g", next ? { class: "replaced" } : {});
  const bar = (from, to, name) =>
    add(group, "rect", { x: x(from), y, width: Math.max(x(to) - x(from), 1), height: BAR, rx: 4, class: name });
  bar(life.issued, life.refreshAt, "valid");
  bar(life.refreshAt, life.expires, "margin");
  const left = Math.max(x(life.issued), 0) + 12;
  if (x(life.refreshAt) - left > 90) {
    add(svg, "text", { x: left, y: y + BAR / 2 + 4, class: next ? "on-faded" : "on-bar" }, `generation ${life.generation}`);
  }
  if (previous) {
    const at = x(life.issued);
    const [upper, lower] = [rowOf(previous), y].sort((a, b) => a - b).map((row) => row + BAR / 2);
    add(svg, "line", { x1: at, x2: at, y1: upper, y2: lower, class: "rotation" });
    add(svg, "circle", { cx: at, cy: y + BAR / 2, r: 5, class: "rotation" });
  }
}

function drawCross(svg, x, y) {
  if (x < 0) return;
  add(svg, "path", { d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10`, class: "failure" });
}

function rowOf(life) {
  return TOP + (life.generation % 2) * ROW;
}

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
