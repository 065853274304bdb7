let journey = DATA.journeys[0] || null;
let step = 0;

function place(header, side) {
  const port = header[`${side}Port`];
  return port === undefined ? header[side] : `${header[side]}:${port || "*"}`;
}

// Bits of the mark that mean something within Felix's chains only.
const FELIX_BITS = 0xffff0000;

function fields(header, mark) {
  if (!header) return {};
  return {
    source: place(header, "source"), target: place(header, "target"), protocol: header.protocol,
    ttl: header.ttl ? String(header.ttl) : "", length: header.length ? word("bytes")(header.length) : "",
    mark: mark & ~FELIX_BITS ? `0x${(mark & ~FELIX_BITS).toString(16)}` : "",
  };
}

// `first`: there was no header before, so nothing is marked as changed.
function headers(title, before, after, first) {
  const names = Object.keys({ ...before, ...after }).filter((name) => before[name] || after[name]);
  const rows = names.map((name) => {
    const changed = !first && (before[name] || "") !== (after[name] || "") ? "changed" : undefined;
    return element("tr", {}, element("th", { scope: "row" }, word(name)),
      element("td", {}, before[name] || "–"), element("td", { class: changed }, after[name] || "–"));
  });
  const heads = [title, word("before"), word("after")].map((text) => element("th", { scope: "col" }, text));
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function outerHeaders(hop) {
  const gone = hop.action === "decapsulate";
  const was = gone ? hop.outer : hop.wasOuter;
  const now = gone ? null : hop.outer;
  return was || now ? headers(word("outer"), fields(was), fields(now), false) : "";
}

function rules(title, found) {
  if (!found.length) return [];
  const lines = found.map((rule) => element("p", {}, element("code", {}, `${rule.table} ${rule.chain}: ${rule.rule}`),
    rule.comment ? ` “${rule.comment}”` : "", rule.chance ? ` ${word("chance")(rule.chance)}` : "",
    rule.by ? element("span", { class: "by" }, ` ${word("by")(rule.by)}`) : ""));
  return [element("h3", {}, word(title)), element("div", { class: "rules" }, ...lines)];
}

// The last rule of each chain in which a rule accepted the packet, and not the chain's policy.
function accepting(hop) {
  return hop.accepted.filter((one) => !one.policy && one.rules.length)
    .map((one) => ({ ...one.rules[one.rules.length - 1], by: one.by }));
}

function showStep() {
  const hop = journey.hops[step];
  const where = [hop.host, hop.interface].filter(Boolean).join(" ");
  const cause = [hop.cause, ...hop.note.split("\n")].filter(Boolean).map(inWords).join("; ");
  byId("step").replaceChildren(...[
    element("h3", {}, `${part(hop)} · ${where}: ${action(hop.action)}`),
    headers(word("inner"), fields(hop.was, hop.wasMark), fields(hop.packet, hop.mark), !hop.was),
    outerHeaders(hop),
    hop.mtu ? element("p", { class: "hint" }, `${word("mtu")} ${word("bytes")(hop.mtu)}`) : "",
    cause ? element("p", {}, `${word("cause")}: `, element("code", {}, cause),
      hop.by ? element("span", { class: "by" }, ` ${word("by")(hop.by)}`) : "") : "",
    ...rules("rules", hop.rules),
    ...rules("accepted", accepting(hop)),
    hop.command ? command(hop.command) : "",
  ].filter(Boolean));
  byId("position").textContent = word("position")(step + 1, journey.hops.length);
  for (const [id, off] of [["first", step === 0], ["back", step === 0],
    ["forward", step === journey.hops.length - 1], ["last", step === journey.hops.length - 1]]) byId(id).setAttribute("aria-disabled", off);
  for (const [index, one] of [...byId("hops").querySelectorAll("button")].entries()) {
    if (index === step) one.setAttribute("aria-current", "step");
    else one.removeAttribute("aria-current");
  }
}

// The way to a hop: its points, and the shapes it passes.
function walked(to) {
  const places = journey.hops.slice(0, to + 1).map((hop) => hop.at).filter((at) => at !== null);
  const found = { points: places.length ? [start(places[0])] : [], shapes: places.slice(0, 1) };
  for (let index = 1; index < places.length; index += 1) {
    const next = way(places[index - 1], places[index]);
    found.points.push(...next.points);
    found.shapes.push(...next.shapes);
  }
  return found;
}

// From the last point of one way to that of the other: their common part is not walked again.
function between(before, after) {
  const same = Math.min(before.length, after.length);
  return before.length <= after.length ? after.slice(same - 1) : before.slice(same - 1).reverse();
}

function showPacket(before) {
  const { at } = journey.hops[step];
  const now = walked(step);
  only("here", at === null ? [] : [at]);
  only("passed", now.shapes);
  drawTrail(now.points);
  if (!now.points.length) return;
  movePacket(before.length ? between(before, now.points) : now.points.slice(-1));
  if (at !== null) bringIntoView(at);
}

function goTo(wanted) {
  if (!journey || wanted < 0 || wanted >= journey.hops.length || wanted === step) return;
  const before = walked(step).points;
  step = wanted;
  showStep();
  showPacket(before);
}

// Of which packet a hop is: in userspace mode kube-proxy makes a connection of its own for one that it took.
function part(hop) {
  const which = word(hop.reply ? "reply" : "request");
  return hop.relay ? `${word("relay")}: ${which}` : which;
}

function title() {
  const { target } = journey;
  const to = target.port ? `${target.address}:${target.port}` : target.address;
  const meant = target.service ? `Service ${target.service}` : target.host || target.name;
  return `${journey.source} → ${meant} (${to}), ${target.protocol}`;
}

function summary(one) {
  const share = one.chance === undefined || one.chance === 1 ? "" : ` (${word("chance")(one.chance)})`;
  return `${word("ends")[one.end]}${share}${one.why ? `: ${inWords(one.why)}` : ""}`;
}

function hopList() {
  const found = [];
  for (const [index, hop] of journey.hops.entries()) {
    if (index === 0 || part(hop) !== part(journey.hops[index - 1])) {
      found.push(element("li", { class: "turn" }, part(hop)));
    }
    const text = `${index + 1}. ${hop.host}: ${action(hop.action)} ${hop.interface}`;
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => goTo(index));
    found.push(element("li", {}, button));
  }
  byId("hops").replaceChildren(...found);
}

function showJourney() {
  byId("journey").hidden = !journey || !journey.hops.length;
  if (byId("journey").hidden) return;
  byId("which-line").hidden = DATA.journeys.length < 2;
  fillChoice();
  byId("journey-title").textContent = title();
  byId("journey-summary").textContent = summary(journey);
  byId("told").replaceChildren(...journey.told.map((text) => element("li", {}, text)));
  hopList();
  showStep();
}

function fillChoice() {
  const now = DATA.journeys.indexOf(journey);
  byId("which").replaceChildren(...DATA.journeys.map((one, index) =>
    element("option", { value: index, selected: index === now }, `${index + 1}. ${summary(one)}`)));
}
