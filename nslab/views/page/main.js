function showFindings() {
  byId("findings").hidden = DATA.findings === null;
  if (DATA.findings === null) return;
  const lines = DATA.findings.map((text) => element("li", {}, text));
  byId("findings-heading").textContent = word(lines.length ? "findings" : "fine");
  byId("findings").querySelector("ul").replaceChildren(...lines);
}

function speak() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = word(one.dataset.word);
  byId("language").textContent = word("other");
  byId("language").lang = language === "ko" ? "en" : "ko";
  showFindings();
  showDetails();
  if (journey) showJourney();
}

function otherTheme() {
  const now = document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

const KEYS = {
  ArrowRight: () => goTo(step + 1), ArrowLeft: () => goTo(step - 1),
  Home: () => goTo(0), End: () => goTo(journey.hops.length - 1),
};

function onKey(event) {
  const plain = !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  const scrolls = event.target.closest("select, .lines") || event.target === byId("scroll");
  if (!journey || !plain || scrolls || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
}

makeChoosable(choose);
speak();
if (journey && journey.hops.length) showPacket([]);
byId("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  speak();
});
byId("theme").addEventListener("click", otherTheme);
byId("first").addEventListener("click", () => goTo(0));
byId("back").addEventListener("click", () => goTo(step - 1));
byId("forward").addEventListener("click", () => goTo(step + 1));
byId("last").addEventListener("click", () => goTo(journey.hops.length - 1));
byId("which").addEventListener("change", (event) => {
  journey = DATA.journeys[Number(event.target.value)];
  step = 0;
  showJourney();
  showPacket([]);
});
document.addEventListener("keydown", onKey);
