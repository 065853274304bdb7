const DATA = JSON.parse(byId("data").textContent);
const SVG = document.querySelector("svg.picture");
const shape = (number) => byId(`shape-${number}`);

function centre(number) {
  const box = shape(number).querySelector("rect").getBBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

const neighbours = DATA.shapes.map(() => []);
for (const line of DATA.lines) {
  if (line.ends.includes(null)) continue;
  const [near, far] = line.ends;
  neighbours[near].push({ to: far, points: line.points });
  neighbours[far].push({ to: near, points: [...line.points].reverse() });
}

// The shortest way along the picture's lines: its points, and the shapes it passes; straight where there is none.
function way(from, to) {
  const came = new Map([[from, null]]);
  const queue = [from];
  while (queue.length && !came.has(to)) {
    const here = queue.shift();
    for (const next of neighbours[here]) {
      if (came.has(next.to)) continue;
      came.set(next.to, { from: here, points: next.points });
      queue.push(next.to);
    }
  }
  if (!came.has(to)) return { points: [centre(from), centre(to)], shapes: [from, to] };
  const found = { points: [], shapes: [to] };
  for (let last = came.get(to); last; last = came.get(last.from)) {
    found.points.unshift(...last.points);
    found.shapes.unshift(last.from);
  }
  return found;
}

// Where a packet begins: where a line leaves the shape, so that it hides no text.
function start(number) {
  return neighbours[number].length ? neighbours[number][0].points[0] : centre(number);
}

// Drawn before a shape, and so under it; over all where there is none.
function drawnUnder(tag, name, above) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  made.setAttribute("class", name);
  made.setAttribute("aria-hidden", "true");
  SVG.insertBefore(made, above);
  return made;
}

let packet = null;
let trail = null;
let moving = 0;

function putPacket([x, y]) {
  packet.setAttribute("cx", x);
  packet.setAttribute("cy", y);
}

function pointAt(points, share) {
  const lengths = points.slice(1).map((point, index) => Math.hypot(point[0] - points[index][0], point[1] - points[index][1]));
  let left = share * lengths.reduce((sum, one) => sum + one, 0);
  for (const [index, length] of lengths.entries()) {
    if (left <= length && length > 0) {
      return [0, 1].map((axis) => points[index][axis] + (points[index + 1][axis] - points[index][axis]) * left / length);
    }
    left -= length;
  }
  return points[points.length - 1];
}

function movePacket(points) {
  packet = packet || drawnUnder("circle", "packet", null);
  packet.setAttribute("r", 7);
  cancelAnimationFrame(moving);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still || points.length < 2) {
    putPacket(points[points.length - 1]);
    return;
  }
  const began = performance.now();
  const frame = (now) => {
    const share = Math.min((now - began) / 600, 1);
    putPacket(pointAt(points, Math.max(share, 0)));
    if (share < 1) moving = requestAnimationFrame(frame);
  };
  putPacket(points[0]);
  moving = requestAnimationFrame(frame);
}

function drawTrail(points) {
  trail = trail || drawnUnder("polyline", "trail", SVG.querySelector(".shape:not(.host):not(.pod)"));
  trail.setAttribute("points", points.map((point) => point.join(",")).join(" "));
}

function bringIntoView(number) {
  const scroll = byId("scroll");
  const [outer, inner] = [scroll, shape(number)].map((one) => one.getBoundingClientRect());
  const off = (low, high, from, to) => (low < from || high > to ? (low + high - from - to) / 2 : 0);
  scroll.scrollBy(off(inner.left, inner.right, outer.left, outer.right), off(inner.top, inner.bottom, outer.top, outer.bottom));
}

function only(name, numbers) {
  for (const one of SVG.querySelectorAll(`.${name}`)) one.classList.remove(name);
  for (const number of numbers) shape(number).classList.add(name);
}

// Smaller than this nobody can read it; it can be scrolled.
SVG.style.minWidth = `${0.85 * SVG.getAttribute("width")}px`;

function makeChoosable(choose) {
  for (const [number, one] of DATA.shapes.entries()) {
    if (!one.host || !DATA.hosts[one.host]) continue;
    const drawn = shape(number);
    drawn.setAttribute("role", "button");
    drawn.setAttribute("tabindex", "0");
    const owner = DATA.hosts[one.host].name;
    const name = one.name.startsWith(owner) ? one.name : `${owner}: ${one.name}`;
    drawn.setAttribute("aria-label", [name, ...one.marks].join("; "));
    drawn.addEventListener("click", () => choose(number));
    drawn.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(number);
    });
  }
}
