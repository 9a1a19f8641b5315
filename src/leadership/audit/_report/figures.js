// Everything beside the timeline, for one selection: { e: election or -1, from, to }.
const $ = (id) => document.getElementById(id);
const isChosen = (selection, e) => selection.e < 0 || e === selection.e;
const touches = (selection, from, to) => from <= selection.to && to >= selection.from;
const clip = (selection, from, to) => Math.max(0, Math.min(to, selection.to) - Math.max(from, selection.from));
const chosenLanes = (selection) => lanes.filter((lane) => isChosen(selection, lane.e));
const chosenTerms = (selection) =>
  spans.filter((term) => isChosen(selection, term.e) && touches(selection, term.began, term.ended ?? termEnd(term)));
const chosenVacancies = (selection) =>
  officeOf
    .flatMap((office) => office.vacancies)
    .filter((vacancy) => isChosen(selection, vacancy.e) && touches(selection, vacancy.from, vacancy.to));

// Until when a term that no record ends is drawn: until the next one of its election begins.
function termEnd(term) {
  const next = begansOf[term.e][above(begansOf[term.e], term.began)];
  return next ?? whole.to;
}

function showFindings(selection) {
  const wanted = data.findings.filter(
    (finding) =>
      (finding.e === null || isChosen(selection, finding.e)) &&
      (finding.began === null || touches(selection, finding.began, finding.ended ?? finding.began)),
  );
  const rank = { invalid: 0, unknown: 1, valid: 2 };
  wanted.sort((a, b) => rank[a.verdict] - rank[b.verdict] || (a.began ?? -1) - (b.began ?? -1));
  const into = $("findings"),
    limit = into.limit ?? 10;
  const parts = [make("ul", { class: "findings" }, ...wanted.slice(0, limit).map(findingItem))];
  if (wanted.length > limit) {
    parts.push(
      make(
        "p",
        {},
        make(
          "button",
          {
            type: "button",
            class: "noprint",
            onclick: () => {
              into.limit = limit + 100;
              showFindings(selection);
            },
          },
          `Show more (${count(wanted.length - limit)} are hidden)`,
        ),
      ),
    );
  }
  const left = Object.entries(data.left);
  if (left.length) {
    parts.push(
      make(
        "p",
        { class: "quiet" },
        "Not in this file: ",
        left.map(([kind, n]) => `${count(n)} of ${words(kind)}`).join(", "),
        "; leadership audit verify tells all.",
      ),
    );
  }
  if (data.findings.length > wanted.length) {
    parts.push(
      make(
        "p",
        { class: "quiet" },
        "The verdict is on everything; not shown, being outside this selection: ",
        `${many(data.findings.length - wanted.length, "finding")}.`,
      ),
    );
  }
  into.replaceChildren(...(wanted.length || left.length || data.findings.length ? parts : []));
}

const words = (kind) => kind.replaceAll("_", " ").replaceAll("-", " ");
const isOverlap = (finding) => finding.kind === "overlap" && finding.began !== null && finding.ended !== null;

function findingItem(finding) {
  const when =
    finding.began === null
      ? ""
      : finding.ended === null || finding.ended === finding.began
        ? time(finding.began)
        : `${time(finding.began)} – ${time(finding.ended)} (${lasting(finding.ended - finding.began)})`;
  const who = [
    finding.e === null ? null : `election ${data.elections[finding.e]}`,
    finding.nodes.length ? finding.nodes.map((n) => data.nodes[n]).join(", ") : null,
  ];
  return make(
    "li",
    { class: "finding" },
    make(
      "h3",
      {},
      make("span", { class: `chip ${finding.verdict}` }, finding.verdict === "valid" ? "remark" : finding.verdict),
      words(finding.kind),
      when ? make("span", { class: "quiet when" }, when) : null,
    ),
    make("p", {}, finding.what),
    who.some(Boolean) ? make("p", { class: "quiet" }, who.filter(Boolean).join("; ")) : null,
    finding.places.length
      ? make(
          "ol",
          {},
          ...finding.places.map(([file, line, text]) =>
            make("li", {}, make("code", {}, place([file, line])), " ", text),
          ),
        )
      : null,
    finding.began === null
      ? null
      : make(
          "button",
          {
            type: "button",
            class: "noprint",
            onclick: () => look(finding.began, finding.ended ?? finding.began, finding.e),
          },
          "Show in the timeline",
        ),
  );
}

function showTerms(selection, short) {
  const several = data.elections.length > 1;
  table(
    $("terms"),
    "Terms",
    [
      { title: "Token", value: (term) => term.token, n: true },
      ...(several ? [{ title: "Election", value: (term) => data.elections[term.e], text: true }] : []),
      { title: "Node", value: (term) => data.nodes[term.n], text: true },
      { title: "From", value: (term) => term.began, show: (term) => time(term.began) },
      {
        title: "To",
        value: (term) => term.ended,
        show: (term) => (term.ended === null ? "not in the audits" : time(term.ended)),
      },
      {
        title: "Length",
        n: true,
        value: (term) => (term.ended === null ? null : term.ended - term.began),
        show: (term) => (term.ended === null ? "?" : lasting(term.ended - term.began)),
      },
      {
        title: "Renewals",
        n: true,
        value: (term) => term.renewals,
        show: (term) => (term.ended === null && !term.demoted ? "?" : count(term.renewals)),
      },
      { title: "Cause", value: (term) => term.cause, show: (term) => term.cause ?? "not recorded" },
      { title: "Reason", value: (term) => term.reason, text: true },
      {
        title: "Records",
        value: (term) => data.files[term.place[0]],
        show: (term) =>
          make(
            "code",
            { title: [term.place, term.demoted].filter(Boolean).map(place).join(", ") },
            !term.demoted
              ? shortPlace(term.place)
              : term.demoted[0] === term.place[0]
                ? `${shortPlace(term.place)}, ${term.demoted[1]}`
                : `${shortPlace(term.place)}, ${shortPlace(term.demoted)}`,
          ),
      },
      {
        title: "",
        value: (term) => term.began,
        show: (term) =>
          make(
            "button",
            {
              type: "button",
              class: "noprint",
              "aria-label": `Show token ${term.token} in the timeline`,
              onclick: () => look(term.began, term.ended ?? termEnd(term), term.e),
            },
            "Show",
          ),
      },
    ],
    chosenTerms(selection),
    { empty: "Nobody was elected in this selection.", rowClass: (term) => (isShort(term, short) ? "short" : null) },
  );
}

const isShort = (term, short) => term.ended !== null && term.ended - term.began < short;

function showVacancies(selection) {
  const all = chosenVacancies(selection),
    known = all.filter((vacancy) => vacancy.kind !== "unknown");
  const lengths = (list) => list.map((vacancy) => vacancy.to - vacancy.from).sort((a, b) => a - b);
  const row = (title, list) => {
    const sorted = lengths(list);
    return { title, n: sorted.length, p: (part) => (sorted.length ? quantile(sorted, part) : null) };
  };
  const rows = [
    row(
      "failovers",
      known.filter((vacancy) => vacancy.kind === "failover"),
    ),
    row(
      "hand-overs",
      known.filter((vacancy) => vacancy.kind === "hand-over"),
    ),
    row("all vacancies", known),
  ];
  const cell = (part) => (one) => (one.n ? lasting(one.p(part)) : "–");
  table(
    $("vacancies"),
    "Vacancies in figures",
    [
      { title: "", value: (one) => one.title },
      { title: "n", n: true, value: (one) => one.n, show: (one) => count(one.n) },
      ...[
        ["p50", 0.5],
        ["p90", 0.9],
        ["p99", 0.99],
        ["max", 1],
      ].map(([title, part]) => ({ title, n: true, value: (one) => one.p(part), show: cell(part) })),
    ],
    rows,
    { sortable: false },
  );
  const unknown = all.length - known.length;
  const longest = known.reduce(
    (best, vacancy) => (best === null || vacancy.to - vacancy.from > best.to - best.from ? vacancy : best),
    null,
  );
  if (longest) {
    $("vacancies").append(
      make(
        "p",
        {},
        `The longest: ${lasting(longest.to - longest.from)} from ${time(longest.from)}, `,
        `between tokens ${longest.after.token} and ${longest.next.token}. `,
        make(
          "button",
          { type: "button", class: "noprint", onclick: () => look(longest.from, longest.to, longest.e) },
          "Show",
        ),
      ),
    );
  }
  if (unknown)
    $("vacancies").append(
      make(
        "p",
        { class: "note" },
        `${many(unknown, "change")} of leader without a length: `,
        "the end of the term before is in no audit, as after a kill.",
      ),
    );
  histogram($("histogram"), known);
}

function histogram(into, vacancies) {
  if (!vacancies.length) {
    into.replaceChildren(make("p", { class: "quiet" }, "No vacancy of a known length in this selection."));
    return;
  }
  const steps = []; // 1, 2, 5, 10 … microseconds
  for (let decade = 1; decade < 1e14; decade *= 10) steps.push(decade, decade * 2, decade * 5);
  const bin = (vacancy) => Math.max(0, above(steps, vacancy.to - vacancy.from) - 1);
  const bins = vacancies.map(bin),
    low = bins.reduce((a, b) => Math.min(a, b)),
    high = bins.reduce((a, b) => Math.max(a, b));
  const bars = Array.from({ length: high - low + 1 }, () => [0, 0]);
  vacancies.forEach((vacancy, i) => bars[bins[i] - low][vacancy.kind === "failover" ? 0 : 1]++);
  const most = bars.reduce((best, [a, b]) => Math.max(best, a + b), 0);
  const W = Math.min(640, Math.max(280, into.clientWidth || 560)),
    H = 230,
    left = 44,
    bottom = 180,
    top = 34,
    wide = (W - left - 10) / Math.max(bars.length, 6);
  const label =
    `How long nobody led, ${many(vacancies.length, "time")}: a distribution on a logarithmic scale; ` +
    "the table beside it tells it in figures";
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
  svg.append(
    make("line", { class: "axis", x1: left, x2: W - 5, y1: bottom, y2: bottom }),
    make("text", { class: "quiet-text", x: 0, y: 11 }, "how many"),
  );
  svg.append(
    make("text", { class: "quiet-text", x: left - 6, y: top + 6, "text-anchor": "end" }, count(most)),
    make("text", { class: "quiet-text", x: left - 6, y: bottom, "text-anchor": "end" }, "0"),
  );
  bars.forEach(([failovers, others], i) => {
    let y = bottom;
    const x = left + i * wide;
    for (const [n, name] of [
      [failovers, "failover"],
      [others, "handover"],
    ]) {
      if (!n) continue;
      const height = Math.max(2, (n / most) * (bottom - top));
      y -= height;
      const what = many(n, name === "failover" ? "failover" : "hand-over");
      const range = `${lasting(steps[low + i])} to ${lasting(steps[low + i + 1])}: ${what}`;
      svg.append(make("rect", { class: name, x: x + 2, y, width: wide - 4, height }, make("title", {}, range)));
      if (name === "failover")
        for (let hatch = y + 5; hatch < y + height; hatch += 6)
          svg.append(make("line", { class: "hatch", x1: x + 2, x2: x + wide - 2, y1: hatch, y2: hatch }));
    }
    if (failovers + others)
      svg.append(
        make(
          "text",
          { class: "quiet-text", x: x + wide / 2, y: y - 4, "text-anchor": "middle" },
          count(failovers + others),
        ),
      );
    if (i % Math.ceil((bars.length * 58) / (W - left)) === 0)
      svg.append(make("text", { class: "quiet-text", x: x + 2, y: bottom + 15 }, lasting(steps[low + i])));
  });
  svg.append(
    make("rect", { class: "failover", x: left, y: H - 14, width: 14, height: 11 }),
    make("line", { class: "hatch", x1: left, x2: left + 14, y1: H - 8.5, y2: H - 8.5 }),
    make("text", { x: left + 19, y: H - 4 }, "failover"),
    make("rect", { class: "handover", x: left + 90, y: H - 14, width: 14, height: 11 }),
    make("text", { x: left + 109, y: H - 4 }, "hand-over and other"),
  );
  into.replaceChildren(svg);
}
