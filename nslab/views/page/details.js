let chosen = null;

function marks(some) {
  return some.length ? element("ul", {}, ...some.map((text) => element("li", { class: "mark-line" }, text))) : "";
}

function section(one, open) {
  const lines = one.lines.map((line) =>
    element("p", {}, element("code", {}, line.text), line.by ? element("span", { class: "by" }, ` ${word("by")(line.by)}`) : ""));
  const summary = element("summary", {}, `${word(one.what)} (${one.lines.length})`);
  const body = element("div", { class: "lines", tabindex: "0", role: "group", "aria-label": word(one.what) }, ...lines);
  return element("details", { open: open ? "" : undefined }, summary, one.command ? command(one.command) : "", body);
}

function interfaceLine(one) {
  const mtu = one.mtu ? `, ${word("mtu")} ${one.mtu}` : "";
  const far = one.far ? ` ── ${one.far[0]} ${one.far[1]}` : "";
  return element("li", {}, element("code", {}, `${one.name} ${one.addresses.join(" ")} (${one.kind}${mtu})${far}`));
}

function hostDetails(host) {
  const links = host.interfaces.length
    ? [element("h3", {}, word("interfaces")), element("ul", {}, ...host.interfaces.map(interfaceLine))] : [];
  const open = new Set(["addresses", "routes", "service"]);
  return [
    element("h3", {}, `${host.name} · ${word("roles")[host.role]}`), marks(host.marks), ...links,
    ...host.sections.map((one) => section(one, open.has(one.what))),
    ...(host.commands.length ? [element("h3", {}, word("more")), ...host.commands.map(command)] : []),
  ];
}

function row(name, value) {
  return value ? element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)) : "";
}

function interfaceDetails(host, one) {
  const facts = element("table", {}, element("tbody", {},
    row(word("inside"), host.name), row(word("addresses"), one.addresses.join(" ")),
    row(word("mtu"), one.mtu ? word("bytes")(one.mtu) : ""), row(word("bridge"), one.bridge),
    row(word("far"), one.far ? one.far.join(" ").trim() : "")));
  const about = host.sections
    .map((found) => ({ ...found, lines: found.lines.filter((line) => line.dev === one.name) }))
    .filter((found) => found.lines.length);
  return [
    element("h3", {}, `${one.name} (${one.kind})`), marks(one.marks), facts,
    ...about.map((found) => section(found, true)),
    element("h3", {}, word("show")), ...one.commands.map(command),
  ];
}

function showDetails() {
  if (chosen === null) return;
  const { host, dev } = DATA.shapes[chosen];
  const owner = DATA.hosts[host];
  const one = owner.interfaces.find((found) => found.name === dev);
  byId("detail").replaceChildren(...(one ? interfaceDetails(owner, one) : hostDetails(owner)).filter(Boolean));
}

function choose(number) {
  chosen = number;
  only("chosen", [number]);
  showDetails();
}
