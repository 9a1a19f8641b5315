// A colour and, as a second cue, a texture for each state; made anew when the theme changes.
function looks() {
  patterns = {};
  colors.clear();
  const tile = (name, base, draw, size = 8) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const ctx = canvas.getContext("2d");
    if (base) {
      ctx.fillStyle = base;
      ctx.fillRect(0, 0, size, size);
    }
    ctx.strokeStyle = ctx.fillStyle = color("--mark");
    ctx.globalAlpha = 0.55;
    draw?.(ctx);
    patterns[name] = ctx.createPattern(canvas, "repeat");
  };
  const lines =
    (...points) =>
    (ctx) => {
      for (const [a, b, c, d] of points) {
        ctx.beginPath();
        ctx.moveTo(a, b);
        ctx.lineTo(c, d);
        ctx.stroke();
      }
    };
  const rising = [
      [-2, 10, 10, -2],
      [-2, 2, 2, -2],
      [6, 10, 10, 6],
    ],
    falling = rising.map(([a, b, c, d]) => [8 - a, b, 8 - c, d]);
  const dots = (ctx) => {
    ctx.fillRect(1, 1, 2, 2);
    ctx.fillRect(5, 5, 2, 2);
  };
  tile("leader", color("--s-leader"));
  tile("following", color("--s-following"));
  tile("campaigning", color("--s-campaigning"));
  tile("syncing", color("--s-syncing"));
  tile("resigning", color("--s-resigning"), lines(...rising));
  tile("vacant", color("--s-vacant"), lines([0, 4, 8, 4]));
  tile("error", color("--s-error"), lines(...rising, ...falling));
  tile("backoff", color("--s-backoff"), dots);
  tile("idle", color("--s-idle"));
  tile("lapsed", color("--s-idle"), lines([4, 0, 4, 8]));
  tile("unknown", color("--panel"), lines(...rising));
  tile("open", null, lines(...rising));
  tile("gone", color("--paper"), lines(...falling));
  const bad = document.createElement("canvas");
  bad.width = bad.height = 8;
  const ctx = bad.getContext("2d");
  ctx.strokeStyle = color("--overlap");
  ctx.lineWidth = 2;
  lines(...rising)(ctx);
  patterns.overlap = ctx.createPattern(bad, "repeat");
}

// How high a state's bar is, of 1: what does not lead stands back.
const HEIGHTS = {
  leader: 1,
  following: 0.6,
  campaigning: 0.45,
  syncing: 0.45,
  resigning: 0.8,
  vacant: 0.45,
  error: 0.8,
  backoff: 0.6,
  idle: 0.2,
  lapsed: 0.8,
  unknown: 0.45,
};

function legend() {
  const used = new Set(lanes.flatMap((lane) => [...new Set(lane.state)]));
  const items = STATES.map((name, i) => [name, i])
    .filter(([, i]) => used.has(i) && i !== UNKNOWN)
    .map(([name]) => [
      stateWords(name),
      (ctx) => {
        const height = Math.round(16 * HEIGHTS[name]);
        ctx.fillStyle = patterns[name];
        ctx.fillRect(0, (16 - height) / 2, 34, height);
      },
    ]);
  items.push([
    "nobody led",
    (ctx) => {
      ctx.fillStyle = patterns.gone;
      ctx.fillRect(0, 0, 34, 16);
      ctx.strokeStyle = color("--vacancy");
      ctx.setLineDash([3, 3]);
      ctx.strokeRect(0.5, 0.5, 33, 15);
    },
  ]);
  items.push([
    "the last that is recorded",
    (ctx) => {
      ctx.fillStyle = patterns.leader;
      ctx.fillRect(0, 0, 34, 16);
      fade(ctx, 0, 34, 0, 16);
    },
  ]);
  if (data.findings.some(isOverlap))
    items.push([
      "two led at once",
      (ctx) => {
        ctx.fillStyle = patterns.overlap;
        ctx.fillRect(0, 0, 34, 16);
      },
    ]);
  const list = $("legend");
  list.replaceChildren();
  for (const [text, draw] of items) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    list.append(make("li", {}, canvas, text));
    draw(context(canvas, 16).ctx);
  }
}
