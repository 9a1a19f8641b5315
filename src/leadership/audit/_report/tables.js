// Tables that stay quick: sorted in memory, shown a page at a time.
const PAGE = 25;

// columns: { title, value(row), show(row)?, n: numeric?, text: wraps? }; the element keeps its page and order.
function table(
  into,
  caption,
  columns,
  rows,
  { empty = "None in this selection.", sortable = true, rowClass = null } = {},
) {
  const view = into.view ?? (into.view = { page: 0, by: null, down: false });
  into.rows = rows;
  if (!rows.length) {
    into.replaceChildren(make("p", { class: "quiet" }, empty));
    return;
  }
  let ordered = rows;
  if (view.by !== null) {
    const key = columns[view.by].value,
      sign = view.down ? -1 : 1;
    const keys = new Map(rows.map((row) => [row, key(row)]));
    ordered = [...rows].sort((a, b) => {
      const x = keys.get(a),
        y = keys.get(b);
      if (x === y) return 0;
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return (x < y ? -1 : 1) * sign;
    });
  }
  const pages = Math.ceil(rows.length / PAGE);
  view.page = Math.min(view.page, pages - 1);
  const again = (focus) => {
    table(into, caption, columns, rows, { empty, sortable, rowClass });
    if (focus) into.querySelector(focus)?.focus();
  };
  const head = make(
    "tr",
    {},
    ...columns.map((column, i) =>
      make(
        "th",
        {
          scope: "col",
          class: column.n ? "n" : null,
          "aria-sort": view.by === i ? (view.down ? "descending" : "ascending") : null,
        },
        sortable && column.title
          ? make(
              "button",
              {
                type: "button",
                "data-by": i,
                onclick: () => {
                  view.down = view.by === i ? !view.down : false;
                  view.by = i;
                  view.page = 0;
                  again(`[data-by="${i}"]`);
                },
              },
              column.title,
            )
          : column.title,
      ),
    ),
  );
  const body = make("tbody");
  for (const row of ordered.slice(view.page * PAGE, (view.page + 1) * PAGE)) {
    body.append(
      make(
        "tr",
        { class: rowClass?.(row) },
        ...columns.map((column) => {
          const shown = column.show ? column.show(row) : column.value(row);
          return make("td", { class: column.n ? "n" : column.text ? "text" : null }, shown ?? "");
        }),
      ),
    );
  }
  const parts = [
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, a table` },
      make(
        "table",
        { "aria-label": caption },
        ...[columns.some((column) => column.title) ? make("thead", {}, head) : null, body].filter(Boolean),
      ),
    ),
  ];
  if (pages > 1) {
    const turn = (title, by) =>
      make(
        "button",
        {
          type: "button",
          "data-turn": by,
          disabled: view.page + by < 0 || view.page + by >= pages,
          onclick: () => {
            view.page += by;
            again(`[data-turn="${by}"]:not(:disabled)`);
          },
        },
        title,
      );
    const first = view.page * PAGE + 1,
      last = Math.min(rows.length, (view.page + 1) * PAGE);
    parts.push(
      make(
        "div",
        { class: "pages" },
        turn("Previous", -1),
        turn("Next", 1),
        `${count(first)}–${count(last)} of ${count(rows.length)}`,
      ),
    );
  }
  into.replaceChildren(...parts);
}

// A stacked bar: parts are [class, share, title].
function bar(parts, label) {
  const element = make("div", { class: "bar", role: "img", "aria-label": label });
  for (const [name, share, title] of parts) {
    const piece = make("span", { class: name, title });
    piece.style.width = `${share * 100}%`;
    element.append(piece);
  }
  return element;
}

// The value that this part of all is no more than; values are sorted.
const quantile = (values, part) => values[Math.max(0, Math.ceil(part * values.length) - 1)];
