// The timeline: a strip of the whole time, and per election a canvas with the office and a lane a node.
// What is shorter than a pixel is summed up in it, so that a lane of any length costs as many strokes as it has pixels.
const AXIS = 22,
  ROW = 26,
  BAR = 18,
  LANES = 60;
const narrow = () => window.innerWidth <= 760;
const geometry = () => (narrow() ? { gutter: 0, label: 20 } : { gutter: 150, label: 0 });
const row = () => ROW + geometry().label;
let groups = []; // { e, lanes, canvas, buttons }
let patterns = {};
let pending = []; // texts, drawn last
let focused = null; // { lane, piece }

function context(canvas, height) {
  const width = canvas.clientWidth,
    scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const ctx = canvas.getContext("2d");
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.font = '12px system-ui, "DejaVu Sans", sans-serif';
  ctx.textBaseline = "middle";
  return { ctx, width };
}

function write(ctx, text, x, y, room, ink, align = "left", halo = color("--s-leader")) {
  if (room < 12 || ctx.measureText(text).width > room) return 0;
  // Later: a band of two leaders must hide no name.
  pending.push(() => {
    ctx.textAlign = align;
    if (halo) {
      ctx.strokeStyle = halo;
      ctx.lineWidth = 3;
      ctx.lineJoin = "round";
      ctx.strokeText(text, x, y);
    }
    ctx.fillStyle = ink;
    ctx.fillText(text, x, y);
  });
  return ctx.measureText(text).width;
}

function ticks(selection, width) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500]
    .map((n) => n)
    .concat(
      [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * 1e3),
      [1, 2, 5, 10, 15, 30].map((n) => n * 1e6),
      [1, 2, 5, 10, 15, 30].map((n) => n * 6e7),
      [1, 2, 3, 6, 12].map((n) => n * 3.6e9),
      [1, 2, 7, 14, 28, 91, 364, 3640, 36400].map((n) => n * 8.64e10),
    );
  const least = (selection.to - selection.from) / Math.max(2, Math.floor(width / 110));
  const step = steps.find((each) => each >= least) ?? steps[steps.length - 1];
  const list = [];
  for (let at = Math.ceil((selection.from + data.base) / step) * step - data.base; at <= selection.to; at += step)
    list.push(at);
  const text = (at) => {
    const full = time(at, 6);
    return step >= 8.64e10
      ? full.slice(0, 10)
      : step >= 6e7
        ? full.slice(5, 16)
        : step >= 1e6
          ? full.slice(11, 19)
          : step >= 1e3
            ? full.slice(11, 23)
            : full.slice(11);
  };
  return list.map((at) => [at, text(at)]);
}

function build(selection) {
  const chosen = data.elections
    .map((_, e) => e)
    .filter((e) => isChosen(selection, e) && (termsOf[e].length || lanes.some((lane) => lane.e === e)));
  const key = `${chosen.join()}|${narrow()}`;
  if (groups.key === key) return;
  groups = [];
  groups.key = key;
  let left = LANES,
    hidden = 0;
  const into = $("lanes");
  into.replaceChildren();
  for (const e of chosen) {
    const all = lanes.filter((lane) => lane.e === e),
      shown = all.slice(0, Math.max(0, left));
    left -= shown.length;
    hidden += all.length - shown.length;
    if (!shown.length && all.length) continue;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const element = make(
      "div",
      { class: "group" },
      make("h3", {}, `Election ${data.elections[e]}`),
      make("div", {}, canvas),
    );
    element.lastChild.style.position = "relative";
    const { gutter } = geometry(),
      labels = [make("span", { class: "lane-name office" }, "who led")];
    for (const lane of shown) {
      labels.push(
        make(
          "button",
          {
            type: "button",
            class: "lane-name",
            "data-lane": lane.number,
            title: lane.name,
            onfocus: () => focusLane(lane),
            onkeydown: (event) => laneKey(event, lane),
          },
          lane.name,
        ),
      );
    }
    labels.forEach((label, i) => {
      label.style.top = `${AXIS + i * row() + (gutter ? 2 : 0)}px`;
      label.style.width = gutter ? `${gutter - 8}px` : "100%";
      element.lastChild.append(label);
    });
    into.append(element);
    groups.push({ e, lanes: shown, canvas });
    pointer(canvas, groups[groups.length - 1]);
  }
  $("more-lanes").hidden = !hidden;
  $("more-lanes").textContent = `${many(hidden, "more lane")} not drawn: choose an election.`;
  if (!groups.length) into.append(make("p", { class: "quiet" }, "No records."));
}

function drawLanes(selection) {
  build(selection);
  for (const lane of groups.flatMap((group) => group.lanes)) {
    const sums = timeInStates(lane, selection),
      led = termsOf[lane.e].filter(
        (term) => term.n === lane.n && touches(selection, term.began, term.ended ?? termEnd(term)),
      ).length;
    document
      .querySelector(`[data-lane="${lane.number}"]`)
      .setAttribute(
        "aria-label",
        `${lane.name}, election ${data.elections[lane.e]}: ${many(led, "term")}, led for ${lasting(sums[LEADER])}. ` +
          "Left and right step through its states",
      );
  }
  for (const group of groups) drawGroup(group, selection);
  drawStrip(selection);
}

function drawGroup(group, selection) {
  const height = AXIS + row() * (group.lanes.length + 1) + 2,
    { ctx, width: full } = context(group.canvas, height),
    { gutter, label } = geometry();
  const width = full - gutter,
    X = (at) => ((at - selection.from) / (selection.to - selection.from)) * width;
  ctx.translate(gutter, 0);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, width, height);
  ctx.clip();
  for (const [at, text] of ticks(selection, width)) {
    ctx.fillStyle = color("--line");
    ctx.fillRect(Math.round(X(at)), AXIS - 4, 1, height);
    const half = ctx.measureText(text).width / 2;
    ctx.fillStyle = color("--quiet");
    ctx.textAlign = "left";
    ctx.fillText(text, Math.min(Math.max(X(at) - half, 2), width - 2 * half - 2), AXIS / 2 - 1);
  }
  const top = (i) => AXIS + i * row() + label + (ROW - BAR) / 2;
  drawOffice(ctx, group.e, top(0), X, width, selection);
  group.lanes.forEach((lane, i) => drawLane(ctx, lane, top(i + 1), X, width, selection));
  for (const finding of data.findings)
    if (finding.e === group.e && finding.began !== null) drawFinding(ctx, finding, X, width, height, selection);
  for (const text of pending) text();
  pending = [];
  ctx.restore();
  if (focused !== null) {
    const i = group.lanes.indexOf(focused.lane);
    if (i >= 0) {
      const x0 = Math.max(0, X(focused.lane.from[focused.piece])),
        x1 = Math.min(width, X(focused.lane.until[focused.piece]));
      ctx.strokeStyle = color("--focus");
      ctx.lineWidth = 3;
      if (x1 >= 0 && x0 <= width) ctx.strokeRect(x0 - 1, top(i + 1) - 2, Math.max(4, x1 - x0 + 2), BAR + 4);
    }
  }
}

const X1 = (ctx) => ctx.canvas.clientWidth - geometry().gutter;

// -- the strip -------------------------------------------------------------------------------------------------------

function drawStrip(selection) {
  const { ctx, width } = context($("strip"), 46),
    X = (at) => ((at - whole.from) / (whole.to - whole.from)) * width;
  const counts = new Float64Array(Math.ceil(width) + 1);
  for (const lane of chosenLanes(selection)) for (let i = 0; i < lane.count; i++) counts[Math.floor(X(lane.t[i]))]++;
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  ctx.fillStyle = color("--quiet");
  counts.forEach((n, x) => {
    if (n) {
      const height = 4 + (28 * Math.log1p(n)) / Math.log1p(most);
      ctx.fillRect(x, 42 - height, 1.2, height);
    }
  });
  for (const piece of officeOf.flatMap((office, e) => (isChosen(selection, e) ? office.office : []))) {
    if (piece.kind !== "vacant" || X(piece.to) - X(piece.from) < 0.3) continue;
    ctx.fillStyle = color("--vacancy");
    ctx.fillRect(X(piece.from), 43, Math.max(1, X(piece.to) - X(piece.from)), 3);
  }
  for (const finding of data.findings) {
    if (finding.began === null || (finding.e !== null && !isChosen(selection, finding.e))) continue;
    ctx.fillStyle = color(
      finding.verdict === "invalid" ? "--overlap" : finding.verdict === "unknown" ? "--doubt" : "--vacancy",
    );
    ctx.fillRect(X(finding.began) - 1, 0, Math.max(3, X(finding.ended ?? finding.began) - X(finding.began)), 46);
    ctx.beginPath();
    ctx.moveTo(X(finding.began) - 6, 0);
    ctx.lineTo(X(finding.began) + 7, 0);
    ctx.lineTo(X(finding.began), 9);
    ctx.fill();
  }
  const x0 = X(selection.from),
    x1 = X(selection.to);
  ctx.fillStyle = color("--paper");
  ctx.globalAlpha = 0.65;
  ctx.fillRect(0, 0, x0, 46);
  ctx.fillRect(x1, 0, width - x1, 46);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = color("--focus");
  ctx.lineWidth = 2;
  ctx.strokeRect(Math.min(x0, width - 4) + 1, 1, Math.max(3, x1 - x0 - 2), 44);
}
