// The selection, which everything follows, in the address as well; the theme; the keys.
let selection = { e: -1, from: whole.from, to: whole.to };
let short = 1;
let waiting = null;

const wholeLength = () => whole.to - whole.from;

// Choose an election or a range; what is left out stays. `later`: the lanes follow at once, the rest when it settles.
function choose(change, { later = false, address = true } = {}) {
  const next = { ...selection, ...change };
  let length = Math.min(Math.max(next.to - next.from, 1), wholeLength());
  const from = Math.min(Math.max(next.from, whole.from), whole.to - length);
  selection = { e: next.e, from, to: from + length };
  drawLanes(selection);
  clearTimeout(waiting);
  if (later) waiting = setTimeout(() => showAll(address), 120);
  else showAll(address);
}

function electionInWords() {
  if (selection.e >= 0) return `Election ${data.elections[selection.e]}`;
  return data.elections.length === 1
    ? `Election ${data.elections[0]}`
    : `All ${count(data.elections.length)} elections`;
}

function showAll(address) {
  const isWhole = selection.from === whole.from && selection.to === whole.to;
  $("election").value = String(selection.e);
  $("from").value = time(selection.from, 6);
  $("to").value = time(selection.to, 6);
  for (const input of [$("from"), $("to")]) input.removeAttribute("aria-invalid");
  $("range-help").textContent = "";
  const shown = chosenLanes(selection),
    n = shown.reduce((sum, lane) => sum + above(lane.t, selection.to) - above(lane.t, selection.from - 1), 0);
  $("selection").textContent =
    `${electionInWords()}, ` +
    `${isWhole ? "the whole time" : `${time(selection.from)} to ${time(selection.to)}`}, ` +
    `${lasting(selection.to - selection.from)}: ` +
    `${many(n, "transition")}, ${many(chosenTerms(selection).length, "term")}.`;
  $("selection").dataset.transitions = n;
  for (const [button, isOff] of [
    ["all", isWhole && selection.e < 0],
    ["out", isWhole],
    ["earlier", selection.from <= whole.from],
    ["later", selection.to >= whole.to],
  ]) {
    document.querySelector(`[data-range="${button}"]`).disabled = isOff;
  }
  showFindings(selection);
  showTerms(selection, short);
  showVacancies(selection);
  showFlaps(selection, short);
  showCauses(selection);
  showStates(selection);
  showMachine(selection);
  showMissing(selection);
  if (address) {
    const parts = new URLSearchParams();
    if (selection.e >= 0) parts.set("election", data.elections[selection.e]);
    if (!isWhole) {
      parts.set("from", `${time(selection.from, 6).replace(" ", "T")}Z`);
      parts.set("to", `${time(selection.to, 6).replace(" ", "T")}Z`);
    }
    const hash = parts.toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }
}

function fromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1)),
    e = parts.has("election") ? data.elections.indexOf(parts.get("election")) : -1;
  const from = parts.has("from") ? parseTime(parts.get("from")) : null,
    to = parts.has("to") ? parseTime(parts.get("to")) : null;
  choose(
    { e, from: from ?? whole.from, to: to !== null && to > (from ?? whole.from) ? to : whole.to },
    { address: false },
  );
}

function zoom(factor, around = 0.5) {
  const length = (selection.to - selection.from) * factor,
    at = selection.from + (selection.to - selection.from) * around;
  choose({ from: at - length * around, to: at + length * (1 - around) }, { later: true });
}

// Bring a finding, a term or a vacancy into view, with something around it.
function look(from, to, e) {
  const around = Math.max((to - from) * 0.75, 1000, wholeLength() / 1e5);
  choose({ e: data.elections.length > 1 && e !== null ? e : selection.e, from: from - around, to: to + around });
  $("timeline").scrollIntoView({ block: "start" });
  $("timeline").focus({ preventScroll: true });
}

const RANGES = {
  earlier: () =>
    choose({
      from: selection.from - (selection.to - selection.from) / 2,
      to: selection.to - (selection.to - selection.from) / 2,
    }),
  later: () =>
    choose({
      from: selection.from + (selection.to - selection.from) / 2,
      to: selection.to + (selection.to - selection.from) / 2,
    }),
  in: () => zoom(0.5),
  out: () => zoom(2),
  all: () => choose({ e: -1, from: whole.from, to: whole.to }),
};
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "all", ArrowLeft: "earlier", ArrowRight: "later" };

function typed() {
  const times = [$("from"), $("to")].map((input) => {
    const at = parseTime(input.value);
    input.setAttribute("aria-invalid", String(at === null));
    return at;
  });
  if (times.includes(null)) {
    $("range-help").textContent = "A time is written like 2026-01-31 23:59:59.123, in UTC.";
    return;
  }
  if (times[0] >= times[1]) {
    $("range-help").textContent = "From has to be before To.";
    return;
  }
  choose({ from: times[0], to: times[1] });
}

// -- theme -----------------------------------------------------------------------------------------------------------

const THEMES = ["as the system", "light", "dark"];
const system = window.matchMedia("(prefers-color-scheme: dark)");
let theme = 0;

function setTheme(printing = false) {
  const dark = !printing && (theme === 2 || (theme === 0 && system.matches));
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = `Theme: ${THEMES[theme]}`;
  looks();
  legend();
}

function redraw(printing = false) {
  setTheme(printing);
  drawLanes(selection);
}

// -- begin -----------------------------------------------------------------------------------------------------------

data.elections.forEach((name, e) => $("election").append(make("option", { value: e }, name)));
const ttls = Object.values(data.ttls);
short = (ttls.length ? Math.max(...ttls) : 15) * 1e6;
$("short").value = short / 1e6;
$("short").addEventListener("change", () => {
  const value = Number.parseFloat($("short").value);
  $("short").setAttribute("aria-invalid", String(!(value >= 0)));
  if (value >= 0) {
    short = value * 1e6;
    showAll(false);
  }
});
$("election").addEventListener("change", (event) => choose({ e: Number(event.target.value) }));
for (const input of [$("from"), $("to")]) input.addEventListener("change", typed);
for (const button of document.querySelectorAll("[data-range]"))
  button.addEventListener("click", () => RANGES[button.dataset.range]());
$("theme").addEventListener("click", () => {
  theme = (theme + 1) % THEMES.length;
  redraw();
});
system.addEventListener("change", () => redraw());
$("timeline").addEventListener("keydown", (event) => {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  RANGES[action]();
});
{
  const strip = $("strip");
  let begin = null;
  const at = (event) => {
    const box = strip.getBoundingClientRect();
    return whole.from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * wholeLength();
  };
  strip.addEventListener("pointerdown", (event) => {
    begin = at(event);
    strip.setPointerCapture(event.pointerId);
  });
  strip.addEventListener("pointermove", (event) => {
    if (begin === null) return;
    const end = at(event);
    if (Math.abs(end - begin) > (wholeLength() / strip.clientWidth) * 3)
      choose({ from: Math.min(begin, end), to: Math.max(begin, end) }, { later: true });
  });
  strip.addEventListener("pointerup", () => {
    begin = null;
  });
  strip.addEventListener("pointercancel", () => {
    begin = null;
  });
}
let resizing = null;
window.addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    legend();
    drawLanes(selection);
    showVacancies(selection);
  }, 100);
});
window.addEventListener("hashchange", fromAddress);
window.addEventListener("beforeprint", () => redraw(true));
window.addEventListener("afterprint", () => redraw());
setTheme();
fromAddress();
document.documentElement.dataset.ready = "yes";
performance.mark("report-ready");
