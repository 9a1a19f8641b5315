// The bars of the timeline: the office, a lane, and what was found.
// Draw what lasts, with `stroke` for what has a pixel of its own and `mix` for the sums of what has none.
function strokes(first, end, from, until, X, width, kindOf, kinds, stroke, mix) {
  let column = -1,
    sums = new Float64Array(kinds),
    any = false;
  const flush = () => {
    if (any) {
      mix(column, sums);
      sums = new Float64Array(kinds);
      any = false;
    }
  };
  for (let i = first; i < end; i++) {
    const x0 = X(from(i)),
      x1 = X(until(i));
    if (x1 < 0 || x0 > width) continue;
    if (x1 - x0 >= 1.5) {
      flush();
      stroke(i, Math.max(x0, -2), Math.min(x1, width + 2));
      continue;
    }
    const at = Math.floor(x0);
    if (at !== column) {
      flush();
      column = at;
    }
    sums[kindOf(i)] += Math.max(x1 - x0, 0.02);
    any = true;
  }
  flush();
}

function drawOffice(ctx, e, y, X, width, selection) {
  const { office } = officeOf[e],
    froms = office.froms ?? (office.froms = Float64Array.from(office, (piece) => piece.from));
  const kinds = ["led", "open", "vacant"],
    looksOf = [patterns.leader, patterns.leader, patterns.gone];
  let first = above(froms, selection.from);
  while (first > 0 && first > above(froms, selection.from) - 3) first--;
  strokes(
    first,
    above(froms, selection.to),
    (i) => office[i].from,
    (i) => office[i].to,
    X,
    width,
    (i) => kinds.indexOf(office[i].kind),
    3,
    (i, x0, x1) => {
      const piece = office[i],
        room = x1 - x0 - 8,
        middle = y + BAR / 2;
      if (piece.kind === "vacant") {
        ctx.fillStyle = patterns.gone;
        ctx.fillRect(x0, y, x1 - x0, BAR);
        ctx.strokeStyle = color("--vacancy");
        ctx.setLineDash([3, 3]);
        ctx.strokeRect(x0 + 0.5, y + 0.5, x1 - x0 - 1, BAR - 1);
        ctx.setLineDash([]);
        const text = [`vacant ${lasting(piece.to - piece.from)}`, lasting(piece.to - piece.from)].find(
          (each) => ctx.measureText(each).width <= room,
        );
        if (text) {
          ctx.fillStyle = color("--paper");
          ctx.fillRect(
            (x0 + x1) / 2 - ctx.measureText(text).width / 2 - 3,
            y + 2,
            ctx.measureText(text).width + 6,
            BAR - 4,
          );
          write(ctx, text, (x0 + x1) / 2, middle, room, color("--ink"), "center", null);
        }
        return;
      }
      ctx.fillStyle = piece.span.number % 2 ? color("--s-leader") : patterns.leader;
      ctx.fillRect(x0, y, x1 - x0, BAR);
      ctx.fillStyle = color("--paper");
      ctx.fillRect(x0, y, 1, BAR);
      if (piece.kind === "open") fade(ctx, x0, x1, y, BAR);
      const node = data.nodes[piece.span.n],
        text = [`${node}, token ${piece.span.token}`, `${node} ${piece.span.token}`, `${piece.span.token}`].find(
          (each) => ctx.measureText(each).width <= room,
        );
      if (text) write(ctx, text, x0 + 4, middle, room, color("--s-leader-ink"));
    },
    (column, sums) => mixed(ctx, column, y, BAR, sums, looksOf),
  );
}

// One pixel's worth of many: the shares above each other.
function mixed(ctx, column, y, height, sums, fills) {
  const all = sums.reduce((a, b) => a + b, 0);
  let at = y;
  sums.forEach((sum, i) => {
    if (!sum) return;
    const share = (sum / all) * height;
    ctx.fillStyle = fills[i];
    ctx.fillRect(column, at, 1.5, share);
    at += share;
  });
}

// The end of it is in no audit.
function fade(ctx, x0, x1, y, height) {
  ctx.fillStyle = patterns.open;
  ctx.fillRect(x0, y, x1 - x0, height);
}

function drawLane(ctx, lane, y, X, width, selection) {
  const shades = STATES.map((name) => color(`--s-${name}`) || color("--line"));
  ctx.fillStyle = color("--panel");
  ctx.fillRect(0, y, width, BAR);
  const first = Math.max(0, above(lane.from, selection.from) - 1),
    end = above(lane.from, selection.to);
  strokes(
    first,
    end,
    (i) => lane.from[i],
    (i) => lane.until[i],
    X,
    width,
    (i) => lane.state[i],
    STATES.length,
    (i, x0, x1) => {
      const name = STATES[lane.state[i]],
        height = Math.round(BAR * HEIGHTS[name]),
        at = y + (BAR - height) / 2;
      ctx.save();
      ctx.fillStyle = patterns[name];
      ctx.fillRect(x0, at, x1 - x0, height);
      if (lane.open[i]) fade(ctx, x0, x1, at, height);
      ctx.restore();
      if (name === "leader") leaderLabel(ctx, lane, i, x0, x1, y);
    },
    (column, sums) => mixed(ctx, column, y, BAR, sums, shades),
  );
  illegal(ctx, lane, y, X, selection);
  for (const gap of data.missing) {
    if (!gap.lanes.includes(lane.number) || gap.began === null) continue;
    const x0 = X(gap.began),
      x1 = Math.max(x0 + 4, X(gap.ended ?? gap.began));
    ctx.fillStyle = color("--doubt");
    ctx.globalAlpha = 0.35;
    ctx.fillRect(x0, y - 2, x1 - x0, BAR + 4);
    ctx.globalAlpha = 1;
    ctx.font = "bold 12px system-ui, sans-serif";
    ctx.textAlign = "center";
    ctx.fillText("?", (x0 + x1) / 2, y + BAR / 2);
    ctx.font = '12px system-ui, "DejaVu Sans", sans-serif';
  }
}

function leaderLabel(ctx, lane, i, x0, x1, y) {
  const r = lane.row[i],
    token = r >= 0 ? lane.token[r] : lane.token[-1 - r],
    middle = y + BAR / 2,
    ink = color("--s-leader-ink");
  const left = Math.max(x0, 0),
    right = Math.min(x1, X1(ctx));
  const used =
    write(ctx, `token ${token}`, left + 4, middle, right - left - 8, ink) ||
    write(ctx, `${token}`, left + 4, middle, right - left - 6, ink);
  const next = i + 1 < lane.row.length ? lane.row[i + 1] : null;
  if (used && next !== null && next >= 0 && !lane.open[i]) {
    const cause = data.moves[lane.move[next]][3];
    if (cause) write(ctx, `▸ ${cause}`, right - 5, middle, right - left - used - 22, ink, "right");
  }
}

// What the table forbids, and yet was asked of it.
function illegal(ctx, lane, y, X, selection) {
  if (!data.moves.some((move) => move[4] === "illegal")) return;
  ctx.fillStyle = color("--overlap");
  ctx.textAlign = "center";
  for (let i = above(lane.t, selection.from - 1); i < lane.count && lane.t[i] <= selection.to; i++) {
    if (data.moves[lane.move[i]][4] === "illegal") ctx.fillText("✗", X(lane.t[i]), y + BAR / 2);
  }
}

function drawFinding(ctx, finding, X, width, height, selection) {
  const until = finding.ended ?? finding.began;
  if (!touches(selection, finding.began, until)) return;
  const x0 = X(finding.began),
    x1 = X(until),
    shade = color(
      finding.verdict === "invalid" ? "--overlap" : finding.verdict === "unknown" ? "--doubt" : "--vacancy",
    );
  if (!isOverlap(finding)) {
    ctx.fillStyle = shade;
    ctx.fillRect(x0 - 1, AXIS - 6, 2, height);
    ctx.fillRect(x0, AXIS - 6, x1 - x0, 3);
    ctx.beginPath();
    ctx.moveTo(x0 - 6, AXIS - 8);
    ctx.lineTo(x0 + 6, AXIS - 8);
    ctx.lineTo(x0, AXIS + 1);
    ctx.fill();
    return;
  }
  const wide = Math.max(4, x1 - x0),
    begin = x1 - x0 < 4 ? (x0 + x1) / 2 - 2 : x0;
  ctx.globalAlpha = 0.22;
  ctx.fillStyle = shade;
  ctx.fillRect(begin, AXIS - 4, wide, height);
  ctx.globalAlpha = 1;
  ctx.globalAlpha = 0.7;
  ctx.fillStyle = patterns.overlap;
  ctx.fillRect(begin, AXIS - 4, wide, height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = shade;
  ctx.fillRect(begin - 1, 0, 2, height);
  ctx.fillRect(begin + wide - 1, 0, 2, height);
  ctx.fillRect(begin - 1, height - 3, wide + 2, 3);
  const text = `TWO LED ${lasting(until - finding.began)}`;
  ctx.font = "bold 12px system-ui, sans-serif";
  const size = ctx.measureText(text).width + 12,
    x = Math.min(Math.max(begin + wide / 2 - size / 2, 0), width - size);
  ctx.fillRect(x, 0, size, AXIS - 2);
  ctx.fillStyle = color("--paper");
  ctx.textAlign = "left";
  ctx.fillText(text, x + 6, AXIS / 2 - 1);
  ctx.font = '12px system-ui, "DejaVu Sans", sans-serif';
}
