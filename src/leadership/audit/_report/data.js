"use strict";
// What was recorded, unpacked; and how times, durations and texts are shown. Times are microseconds since `data.base`.
const data = JSON.parse(document.getElementById("data").textContent);
const STATES = [
  "leader",
  "following",
  "campaigning",
  "syncing",
  "resigning",
  "vacant",
  "error",
  "backoff",
  "idle",
  "lapsed",
  "unknown",
];
const UNKNOWN = STATES.indexOf("unknown"),
  LAPSED = STATES.indexOf("lapsed"),
  LEADER = 0,
  IDLE = STATES.indexOf("idle");
const stateNumber = (name) => (STATES.indexOf(name) < 0 ? UNKNOWN : STATES.indexOf(name));
const ASKED = new Set(["resigned", "stopped", "callback_failed"]);

function sums(differences) {
  let sum = 0;
  return Float64Array.from(differences, (difference) => (sum += difference));
}

// The first place in a sorted array whose value is above.
function above(values, value) {
  let low = 0,
    high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

const spans = data.spans
  .map((each, number) => ({
    number,
    e: each[0],
    n: each[1],
    token: each[2],
    began: each[3],
    ended: each[4],
    cause: each[5] === null ? null : data.causes[each[5]],
    reason: each[6],
    renewals: each[7],
    place: [each[8], each[9]],
    demoted: each[10] === null ? null : [each[10], each[11]],
  }))
  .sort((a, b) => a.e - b.e || a.began - b.began || (a.token < b.token ? -1 : 1));

const deadlines = new Map(
  spans.filter((each) => each.ended !== null).map((each) => [`${each.e}/${each.n}/${each.token}`, each.ended]),
);

const lanes = data.lanes.map((lane, number) => {
  const t = sums(lane.t),
    line = sums(lane.line),
    n = t.length;
  const firsts = new Set(lane.runs),
    file = new Int32Array(n);
  lane.file.forEach(([from, name], i) => file.fill(name, from, i + 1 < lane.file.length ? lane.file[i + 1][0] : n));
  return {
    number,
    e: lane.e,
    n: lane.n,
    machine: lane.m,
    t,
    line,
    file,
    move: lane.move,
    token: lane.token,
    renewals: lane.renewals,
    word: lane.word,
    runs: lane.runs,
    firsts,
    count: n,
    name: data.nodes[lane.n] + (lane.m === "candidate" ? "" : ` (${lane.m})`) + (lane.k > 1 ? ` #${lane.k}` : ""),
    ...pieces(lane, t, firsts),
  };
});

// What a lane was, from when to when: a piece a record, and one before the first record of a run whose state had begun
// before the audit does. An `open` piece has no end in the audits: it was the last that its object told.
//
// A term may end, by its deadline, before its node could tell: from then on it is `lapsed`.
function pieces(lane, t, firsts) {
  const from = [],
    state = [],
    row = [];
  let run = 0;
  const lapse = (i, until) => {
    const end = deadlines.get(`${lane.e}/${lane.n}/${lane.token[i]}`);
    if (end !== undefined && end > from[from.length - 1] && end < until) {
      from.push(end);
      state.push(LAPSED);
      row.push(i);
    }
  };
  for (let i = 0; i < t.length; i++) {
    if (firsts.has(i)) {
      const source = stateNumber(data.moves[lane.move[i]][0]),
        lasted = lane.before[run++];
      if (source !== IDLE && lasted > 0) {
        const before = i ? Math.max(t[i - 1], t[i] - lasted) : t[i] - lasted;
        from.push(before);
        state.push(source);
        row.push(-1 - i);
        if (source === LEADER) lapse(i, t[i]);
      }
    }
    from.push(t[i]);
    state.push(stateNumber(data.moves[lane.move[i]][2]));
    row.push(i);
    if (state[state.length - 1] === LEADER) lapse(i, i + 1 < t.length ? t[i + 1] : Infinity);
  }
  return { from: Float64Array.from(from), state: Uint8Array.from(state), row: Int32Array.from(row) };
}

const whole = (() => {
  let from = Infinity,
    to = -Infinity;
  const see = (at) => {
    if (at !== null && at !== undefined) {
      from = Math.min(from, at);
      to = Math.max(to, at);
    }
  };
  for (const lane of lanes)
    if (lane.from.length) {
      see(lane.from[0]);
      see(lane.from[lane.from.length - 1]);
    }
  for (const span of spans) {
    see(span.began);
    see(span.ended);
  }
  for (const finding of data.findings) {
    see(finding.began);
    see(finding.ended);
  }
  for (const gap of data.missing) {
    see(gap.began);
    see(gap.ended);
  }
  if (!(from <= to)) return { from: 0, to: 1 };
  return { from, to: Math.max(to, from + 1) };
})();

const termsOf = data.elections.map(() => []);
for (const span of spans) {
  const terms = termsOf[span.e],
    last = terms[terms.length - 1];
  span.isChange = last !== undefined && last.n !== span.n; // another node led before
  terms.push(span);
}
const begansOf = termsOf.map((terms) => Float64Array.from(terms, (span) => span.began));

// The end of each piece. One that is open ends, for the eye, at the next run's first record or at the end of the whole;
// of an open leader no more is claimed than until the next term begins.
for (const lane of lanes) {
  const n = lane.from.length;
  lane.until = new Float64Array(n);
  lane.open = new Uint8Array(n);
  lane.slips = 0;
  for (let i = 0; i < n; i++) {
    const next = i + 1 < n ? lane.from[i + 1] : whole.to;
    const last =
      i + 1 === n || (lane.row[i + 1] !== lane.row[i] && (lane.row[i + 1] < 0 || lane.firsts.has(lane.row[i + 1])));
    lane.until[i] = next;
    if (next < lane.from[i]) {
      lane.slips++;
      lane.until[i] = lane.from[i];
    }
    if (last && lane.row[i] >= 0 && lane.state[i] !== IDLE && lane.state[i] !== LAPSED) {
      lane.open[i] = 1;
      if (lane.state[i] === LEADER) {
        const later = begansOf[lane.e][above(begansOf[lane.e], lane.from[i])];
        if (later !== undefined) lane.until[i] = Math.min(next, later);
      }
    }
  }
  lane.last = n ? lane.until[n - 1] : 0;
}

// The office of each election: led, vacant, or not known, since the end of a term is in no audit. A vacancy that began
// before the latest end of any term so far is none.
// Before the first term and behind the last one nobody led either, for as long as records of the election tell; how
// long that went on in all is not known, so that it is drawn, and no vacancy to be counted.
const officeOf = termsOf.map((terms, e) => {
  const mine = lanes.filter((lane) => lane.e === e && lane.count);
  const first = mine.reduce((least, lane) => Math.min(least, lane.t[0]), Infinity);
  const final = mine.reduce((most, lane) => Math.max(most, lane.t[lane.count - 1]), -Infinity);
  const office = [],
    vacancies = [];
  let end = -Infinity,
    last = null;
  const empty = (from, to) => {
    if (to > from) office.push({ kind: "vacant", from, to, after: last });
  };
  empty(first, terms.length ? terms[0].began : final);
  for (const [i, span] of terms.entries()) {
    const next = terms[i + 1];
    if (last !== null && end !== null && span.began > end) {
      const asked = ASKED.has(last.cause);
      const vacancy = {
        e: span.e,
        from: end,
        to: span.began,
        after: last,
        next: span,
        kind: asked ? "hand-over" : last.cause === null ? "not said" : "failover",
      };
      vacancies.push(vacancy);
      office.push({ kind: "vacant", from: end, to: span.began, after: last });
    } else if (last !== null && end === null) {
      vacancies.push({ e: span.e, from: last.began, to: span.began, after: last, next: span, kind: "unknown" });
    }
    office.push({
      kind: span.ended === null ? "open" : "led",
      from: span.began,
      to: span.ended ?? (next ? Math.max(span.began, next.began) : whole.to),
      span,
    });
    if (span.ended === null) {
      end = null;
      last = span;
    } else if (end === null || span.ended >= end) {
      end = span.ended;
      last = span;
    }
  }
  if (last !== null && end !== null) empty(end, final);
  return { office, vacancies };
});

// -- how things are said ---------------------------------------------------------------------------------------------

const pad = (number, width = 2) => String(number).padStart(width, "0");

function time(at, digits = 3) {
  if (at === null || at === undefined) return "";
  const micros = data.base + Math.round(at),
    date = new Date(Math.floor(micros / 1000));
  if (Number.isNaN(date.getTime())) return "beyond all calendars";
  const fraction = pad(((micros % 1e6) + 1e6) % 1e6, 6).slice(0, digits);
  return date.toISOString().slice(0, 19).replace("T", " ") + (digits ? `.${fraction}` : "");
}

// A time in UTC as people write it, or null.
function parseTime(text) {
  const match =
    /^\s*(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?\s*(?:Z|UTC|\+00:00)?\s*$/i.exec(
      text,
    );
  if (!match) return null;
  const [, y, mo, d, h = 0, mi = 0, s = 0, fraction = ""] = match;
  const millis = Date.UTC(+y, mo - 1, +d, +h, +mi, +s);
  return new Date(millis).getUTCDate() === +d
    ? millis * 1000 + +fraction.padEnd(6, "0").slice(0, 6) - data.base
    : null;
}

function lasting(micros) {
  const s = Math.abs(micros) / 1e6,
    sign = micros < 0 ? "−" : "";
  if (s < 1e-3) return `${sign}${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${sign}${(s * 1e3).toPrecision(3)} ms`;
  if (s < 10) return `${sign}${s.toFixed(2)} s`;
  if (s < 60) return `${sign}${s.toFixed(1)} s`;
  const seconds = Math.round(s);
  if (s < 3600) return `${sign}${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(s / 60);
  if (s < 86400) return `${sign}${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(s / 3600);
  return `${sign}${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const count = (number) => number.toLocaleString("en-US");
const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const percent = (part) =>
  part >= 0.9995 ? "100 %" : part > 0 && part < 0.001 ? "< 0.1 %" : `${(part * 100).toFixed(1)} %`;
const place = ([file, line]) => `${data.files[file]}:${line}`;
const shortPlace = ([file, line]) => `${data.files[file].split("/").pop()}:${line}`;
const stateWords = (name) => ({ unknown: "end not recorded", lapsed: "past its deadline" })[name] ?? name;
const colors = new Map(); // emptied when the theme changes
function color(name) {
  if (!colors.has(name)) colors.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colors.get(name);
}

// An element, its text as text: nothing that an audit says becomes markup.
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "text", "path", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
