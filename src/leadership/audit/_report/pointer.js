// What is under the pointer, or has the focus.

const pieceAt = (lane, at) => {
  const i = above(lane.from, at) - 1;
  return i >= 0 && at <= lane.until[i] ? i : -1;
};

function tell(lane, i) {
  const name = STATES[lane.state[i]],
    r = lane.row[i],
    about = r >= 0 ? r : -1 - r,
    move = data.moves[lane.move[about]];
  const lines = [
    `${lane.name}: ${name === "unknown" ? (r >= 0 ? move[2] : move[0]) : stateWords(name)}` +
      (name === "leader" ? `, token ${lane.token[about]}` : ""),
  ];
  lines.push(
    lane.open[i]
      ? `from ${time(lane.from[i], 6)}; its end is in no audit`
      : `from ${time(lane.from[i], 6)} to ${time(lane.until[i], 6)} (${lasting(lane.until[i] - lane.from[i])})`,
  );
  if (r >= 0 && name !== "lapsed")
    lines.push(
      `by ${move[1]}${move[5] ? ` [${move[5]}]` : ""}, from ${move[0]}${move[3] ? `; cause ${move[3]}` : ""}`,
    );
  const next = i + 1 < lane.row.length && !lane.open[i] ? lane.row[i + 1] : null;
  if (next !== null && next >= 0) {
    const then = data.moves[lane.move[next]];
    lines.push(
      `then ${then[1]} → ${then[2]}${then[3] ? `; cause ${then[3]}` : ""}` +
        (lane.renewals[next] ? `; ${many(lane.renewals[next], "renewal")}` : ""),
    );
  }
  const [reason, error] = data.words[lane.word[about]] ?? [];
  if (reason) lines.push(`reason: ${reason}`);
  if (error) lines.push(`error: ${error}`);
  lines.push(place([lane.file[about], lane.line[about]]));
  return lines.join("\n");
}

function tellOffice(e, at) {
  const piece = officeOf[e].office.find((each) => at >= each.from && at <= each.to);
  if (!piece) return null;
  if (piece.kind === "vacant") {
    return [
      `nobody led for ${lasting(piece.to - piece.from)}`,
      `from ${time(piece.from, 6)} to ${time(piece.to, 6)}`,
      piece.after
        ? `after token ${piece.after.token} (${piece.after.cause ?? "cause not recorded"})`
        : "before the first term that is recorded",
    ].join("\n");
  }
  const term = piece.span;
  const lines = [`${data.nodes[term.n]} led with token ${term.token}`];
  if (term.ended === null) lines.push(`from ${time(term.began, 6)}; the end is in no audit`);
  else {
    lines.push(`from ${time(term.began, 6)} to ${time(term.ended, 6)} (${lasting(term.ended - term.began)})`);
    lines.push(`ended by ${term.cause ?? "a cause that is not recorded"}${term.reason ? `: ${term.reason}` : ""}`);
  }
  return lines.join("\n");
}

function focusLane(lane) {
  if (focused?.lane !== lane) {
    const i = Math.min(lane.from.length - 1, Math.max(0, above(lane.from, selection.from) - 1));
    focused = { lane, piece: i };
  }
  $("detail").textContent = tell(lane, focused.piece).replaceAll("\n", "; ");
  drawLanes(selection);
}

function laneKey(event, lane) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  const piece = Math.min(lane.from.length - 1, Math.max(0, (focused?.lane === lane ? focused.piece : 0) + by));
  focused = { lane, piece };
  if (!touches(selection, lane.from[piece], lane.until[piece])) {
    const half = (selection.to - selection.from) / 2;
    choose({ from: lane.from[piece] - half, to: lane.from[piece] + half });
  }
  focusLane(lane);
}

function pointer(canvas, group) {
  let down = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect(),
      { gutter } = geometry();
    return {
      x: (event.clientX - box.left - gutter) / (box.width - gutter),
      row: Math.floor((event.clientY - box.top - AXIS) / row()),
    };
  };
  canvas.addEventListener("pointermove", (event) => {
    const { x, row: number } = at(event);
    if (down) {
      const by = (down.x - x) * (down.to - down.from);
      down.moved ||= Math.abs(by) > 0;
      choose({ from: down.from + by, to: down.to + by }, { later: true });
      return;
    }
    const when = selection.from + x * (selection.to - selection.from),
      lane = group.lanes[number - 1];
    const i = lane ? pieceAt(lane, when) : -1;
    const finding = data.findings.find(
      (each) => isOverlap(each) && each.e === group.e && when >= each.began && when <= each.ended,
    );
    const text =
      x < 0
        ? null
        : [
            finding ? `✗ ${finding.what}` : null,
            number === 0 ? tellOffice(group.e, when) : i >= 0 ? tell(lane, i) : null,
          ]
            .filter(Boolean)
            .join("\n");
    showTip(text, event);
  });
  canvas.addEventListener("pointerleave", () => showTip(null));
  canvas.addEventListener("pointerdown", (event) => {
    down = { x: at(event).x, from: selection.from, to: selection.to, moved: false };
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("moving");
    showTip(null);
  });
  const up = (event) => {
    if (down && !down.moved) {
      const { x, row: number } = at(event),
        lane = group.lanes[number - 1];
      const i = lane ? pieceAt(lane, selection.from + x * (selection.to - selection.from)) : -1;
      if (i >= 0) {
        focused = { lane, piece: i };
        focusLane(lane);
      }
    }
    down = null;
    canvas.classList.remove("moving");
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", () => {
    down = null;
    canvas.classList.remove("moving");
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? 0.8 : 1.25, Math.min(1, Math.max(0, at(event).x)));
    },
    { passive: false },
  );
  canvas.addEventListener("dblclick", (event) => zoom(0.5, Math.min(1, Math.max(0, at(event).x))));
}

function showTip(text, event) {
  const tip = $("tip");
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - box.width - 8))}px`;
  const above = Math.max(4, event.clientY - box.height - 10);
  tip.style.top = `${event.clientY + 18 + box.height > window.innerHeight ? above : event.clientY + 18}px`;
}
