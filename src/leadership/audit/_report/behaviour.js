// How it behaved: flaps, causes, time in states, the machine, and what is missing.
function showFlaps(selection, short) {
  const terms = chosenTerms(selection),
    begun = terms.filter((term) => term.began >= selection.from);
  const hours = (selection.to - selection.from) / 3.6e9,
    changes = begun.filter((term) => term.isChange).length;
  const shorts = terms.filter((term) => isShort(term, short)),
    open = terms.filter((term) => term.ended === null).length;
  const rows = [
    ["terms begun", count(begun.length)],
    [
      `terms shorter than ${lasting(short)}`,
      `${count(shorts.length)} of ${count(terms.length)}${open ? `, ${count(open)} of unknown length` : ""}`,
    ],
    ["changes of leader", count(changes)],
    ["changes of leader an hour", hours > 0 ? count(Number((changes / hours).toPrecision(3))) : "–"],
  ];
  table(
    $("flaps"),
    "Flaps",
    [
      { title: "", value: (row) => row[0] },
      { title: "", n: true, value: (row) => row[1] },
    ],
    rows,
    { sortable: false },
  );
}

function showCauses(selection) {
  const counted = new Map();
  const ended = chosenTerms(selection).filter((term) => term.ended === null || term.ended <= selection.to);
  for (const term of ended) {
    const cause = term.cause ?? "not recorded";
    counted.set(cause, (counted.get(cause) ?? 0) + 1);
  }
  const rows = [...counted].sort((a, b) => b[1] - a[1]);
  table(
    $("causes"),
    "Causes of demotion",
    [
      { title: "Cause", value: ([cause]) => cause },
      { title: "n", n: true, value: ([, n]) => n, show: ([, n]) => count(n) },
      {
        title: "Share",
        value: ([, n]) => n,
        show: ([cause, n]) => bar([["", n / ended.length, cause]], `${cause}: ${percent(n / ended.length)}`),
      },
    ],
    rows,
    { empty: "No term ended in this selection.", sortable: false },
  );
}

// Microseconds of a lane in each state; what is open is not known.
function timeInStates(lane, selection) {
  const sums = new Float64Array(STATES.length);
  const last = above(lane.from, selection.to);
  for (let i = Math.max(0, above(lane.from, selection.from) - 1); i < last; i++) {
    sums[lane.open[i] ? UNKNOWN : lane.state[i]] += clip(selection, lane.from[i], lane.until[i]);
  }
  return sums;
}

function showStates(selection) {
  const rows = chosenLanes(selection).map((lane) => {
    const sums = timeInStates(lane, selection);
    return { lane, sums, all: sums.reduce((a, b) => a + b, 0) };
  });
  const used = STATES.map((name, i) => [name, i]).filter(([, i]) => rows.some((row) => row.sums[i] > 0));
  const title = stateWords;
  table(
    $("states"),
    "Time in each state, by node",
    [
      ...(data.elections.length > 1
        ? [{ title: "Election", value: (row) => data.elections[row.lane.e], text: true }]
        : []),
      { title: "Node", value: (row) => row.lane.name, text: true },
      {
        title: "Share",
        value: (row) => row.sums[0] / (row.all || 1),
        show: (row) =>
          bar(
            used
              .filter(([, i]) => row.sums[i])
              .map(([name, i]) => [name, row.sums[i] / row.all, `${title(name)} ${percent(row.sums[i] / row.all)}`]),
            used
              .filter(([, i]) => row.sums[i])
              .map(([name, i]) => `${title(name)} ${percent(row.sums[i] / row.all)}`)
              .join(", "),
          ),
      },
      ...used.map(([name, i]) => ({
        title: title(name),
        n: true,
        value: (row) => row.sums[i],
        show: (row) => (row.sums[i] ? lasting(row.sums[i]) : "–"),
      })),
    ],
    rows,
    { empty: "No records in this selection." },
  );
}

function showMachine(selection) {
  const counts = new Map(),
    elsewhere = new Map();
  const place = new Map(
    data.edges.flatMap((edge, i) => edge.of.map((of) => [`${edge.source}>${edge.dest}>${of}`, i])),
  );
  const edgeOf = data.moves.map(([source, trigger, dest, , disposition, guard]) =>
    disposition === "go" ? (place.get(`${source}>${dest}>${trigger}/${guard}`) ?? -1) : -2,
  );
  const sums = new Float64Array(STATES.length);
  let renewals = 0;
  for (const lane of chosenLanes(selection)) {
    if (lane.machine !== "candidate") continue;
    for (let i = 0; i < lane.count; i++) {
      if (lane.t[i] < selection.from || lane.t[i] > selection.to) continue;
      const edge = edgeOf[lane.move[i]];
      renewals += lane.renewals[i];
      if (edge >= 0) counts.set(edge, (counts.get(edge) ?? 0) + 1);
      else elsewhere.set(lane.move[i], (elsewhere.get(lane.move[i]) ?? 0) + 1);
    }
    timeInStates(lane, selection).forEach((each, i) => {
      sums[i] += each;
    });
  }
  const most = Math.max(1, ...counts.values()),
    all = sums.reduce((a, b) => a + b, 0);
  for (const edge of document.querySelectorAll("#machine .edge")) {
    const n = counts.get(+edge.dataset.edge) ?? 0;
    edge.classList.toggle("never", !n);
    edge.querySelector(".way").style.strokeWidth = n ? 1.2 + (5 * Math.log1p(n)) / Math.log1p(most) : 0.8;
    edge.querySelector(".count").textContent = n ? `×${count(n)}` : "";
  }
  for (const state of document.querySelectorAll("#machine .state")) {
    const spent = sums[stateNumber(state.dataset.state)];
    state.querySelector(".time").textContent = spent ? lasting(spent) : "–";
    state.querySelector(".more").textContent =
      state.dataset.state === "leader" && renewals
        ? `${count(renewals)} renewal${renewals === 1 ? "" : "s"}`
        : spent
          ? percent(spent / all)
          : "";
  }
  const rows = data.edges.map((edge, i) => [
    `${edge.source} → ${edge.dest}`,
    edge.of.map((of) => of.replace(/\/$/, "").replace("/", " [") + (/\/./.test(of) ? "]" : "")).join(", "),
    edge.kind,
    counts.get(i) ?? 0,
  ]);
  for (const [move, n] of elsewhere) {
    const [source, trigger, dest, , disposition, guard] = data.moves[move];
    rows.push([
      `${source} → ${dest}`,
      trigger + (guard ? ` [${guard}]` : ""),
      disposition === "go" ? "in no row of this version's table" : disposition,
      n,
    ]);
  }
  table(
    $("edges"),
    "The edges in words",
    [
      { title: "Transition", value: (row) => row[0] },
      { title: "Reasons", value: (row) => row[1], text: true },
      { title: "Class", value: (row) => row[2] },
      { title: "Count", n: true, value: (row) => row[3], show: (row) => count(row[3]) },
    ],
    rows,
  );
}

function showMissing(selection) {
  const rows = data.missing
    .filter((each) => each.began === null || touches(selection, each.began, each.ended ?? each.began))
    .filter((each) => !each.lanes.length || each.lanes.some((lane) => isChosen(selection, lanes[lane].e)));
  const total = data.counts.missing ?? 0,
    slips = chosenLanes(selection).reduce((sum, lane) => sum + lane.slips, 0),
    open = chosenTerms(selection).filter((term) => term.ended === null).length;
  table(
    $("missing"),
    "What is missing",
    [
      {
        title: "Where",
        value: (each) => place([each.file, each.line]),
        show: (each) => make("code", {}, place([each.file, each.line])),
        text: true,
      },
      { title: "What", value: (each) => each.what, text: true },
      { title: "From", value: (each) => each.began, show: (each) => time(each.began) },
      { title: "To", value: (each) => each.ended, show: (each) => time(each.ended) },
    ],
    rows,
    { empty: "No gap, and no line that cannot be read, in this selection." },
  );
  const say = (text) => $("missing").append(make("p", { class: "note" }, text));
  if (total > data.missing.length) say(`${count(total - data.missing.length)} more such lines are not listed here.`);
  if (open)
    say(
      `${many(open, "term")} whose end is in no audit: the process was killed, still leads, or its file is missing.`,
    );
  if (slips) say(`A wall clock went backwards ${many(slips, "time")}: states there are drawn without a length.`);
  if (data.counts["told twice"])
    say(`${many(data.counts["told twice"], "record")} told twice, by files given twice or copied: counted once.`);
}
