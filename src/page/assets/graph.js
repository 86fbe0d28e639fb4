// The graph before and after the passes: a node a row, edges that skip rows as arcs in lanes at the left.
// Only what is in sight is drawn, so that thousands of nodes are no work.
const NODE = 22, LANE = 7, LANES = 9;

function flow(id, title, nodes) {
  const edges = [], free = [];
  const last = nodes.map((_, i) => i);
  nodes.forEach((n, i) => n[READS].forEach((r) => (last[r] = Math.max(last[r], i))));
  // One arc a node that is read beyond the next row, to its last reader; each takes the first lane that is free.
  nodes.forEach((n, i) => {
    if (last[i] <= i + 1) return;
    let lane = free.findIndex((until) => until <= i);
    if (lane < 0) lane = free.length;
    free[lane] = last[i];
    edges.push({ from: i, to: last[i], lane: Math.min(lane, LANES - 1), layer: n[LAYER] });
  });
  for (const e of edges) {
    e.readers = [];
    for (let i = e.from + 1; i <= e.to; i++) if (nodes[i][READS].includes(e.from)) e.readers.push(i);
  }
  const width = 16 + Math.min(free.length, LANES) * LANE;
  const filler = el("div", { style: `height:${nodes.length * NODE}px` });
  const area = el("div", { class: "flow", tabindex: "-1" }, filler);
  byId(id).append(el("h2", {}, title, el("span", {}, ` · ${counted(nodes.length, "node")}`)), area);

  const button = (i) => {
    const n = nodes[i];
    const click = () => {
      const call = n[LAYER] === null ? -1 : callsOf[n[LAYER]].find((at) => calls[at].node === n[NAME]);
      select(n[LAYER], call, id);
    };
    return el(
      "button",
      {
        class: "node" + (n[LAYER] === selected.layer ? " on" : ""), type: "button", title: n[TEXT], on: { click },
        style: `top:${i * NODE}px;left:${width}px`,
      },
      el("span", {}, "%" + n[NAME]), el("span", {}, n[OP]), el("span", {}, n[TYPE]),
    );
  };
  const picture = (first, end) => {
    const top = first * NODE, y = (i) => i * NODE + NODE / 2 - top, x = width - 8;
    const root = svg("svg", { width, height: (end - first) * NODE, style: `top:${top}px`, "aria-hidden": "true" });
    for (let i = Math.max(first, 1); i < end; i++) {
      if (nodes[i][READS].includes(i - 1)) root.append(svg("path", { d: `M${x} ${y(i - 1)}V${y(i)}` }));
    }
    for (const e of edges) {
      if (e.to < first || e.from >= end) continue;
      const lane = x - 8 - e.lane * LANE, from = y(Math.max(e.from, first - 2));
      const arcs = e.readers.filter((r) => r > e.from + 1 && r >= first - 2 && r <= end + 1);
      let d = `M${x} ${y(e.from)}H${lane + 4}Q${lane} ${y(e.from)} ${lane} ${y(e.from) + 4}`;
      if (e.from < first - 2) d = `M${lane} ${from}`;
      d += `V${y(Math.min(e.to, end + 1)) - 4}`;
      for (const r of arcs) d += `M${lane} ${y(r) - 4}Q${lane} ${y(r)} ${lane + 4} ${y(r)}H${x}`;
      root.append(svg("path", { d, class: e.layer === selected.layer ? "on" : "" }));
    }
    for (let i = first; i < end; i++) {
      root.append(svg("circle", { class: "c-" + kindOf(nodes[i][OP]), cx: x, cy: y(i), r: 3.5 }));
    }
    return root;
  };
  const draw = () => {
    if (!area.clientHeight) return;
    const first = Math.max(0, Math.floor(area.scrollTop / NODE) - 6);
    const end = Math.min(nodes.length, Math.ceil((area.scrollTop + area.clientHeight) / NODE) + 6);
    const out = [filler, picture(first, end)];
    for (let i = first; i < end; i++) out.push(button(i));
    area.replaceChildren(...out);
  };
  const show = (by) => {
    const mine = nodes.findIndex((n) => n[LAYER] === selected.layer);
    const top = mine * NODE;
    if (mine >= 0 && by !== id && (top < area.scrollTop || top + 3 * NODE > area.scrollTop + area.clientHeight)) {
      area.scrollTop = Math.round((top - area.clientHeight / 3) / NODE) * NODE;
    }
    // A new element in place of the clicked one would lose the focus.
    const focused = area.contains(document.activeElement) ? document.activeElement.style.top : null;
    draw();
    if (focused) for (const b of area.querySelectorAll(".node")) if (b.style.top === focused) b.focus({ preventScroll: true });
  };
  let waiting = false;
  area.addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(() => ((waiting = false), draw()));
    waiting = true;
  });
  area.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const here = by && nodes.findIndex((_, i) => document.activeElement.style.top === i * NODE + "px");
    if (!by || !nodes[here + by]) return;
    event.preventDefault();
    for (const b of area.querySelectorAll(".node")) if (b.style.top === (here + by) * NODE + "px") b.focus();
  });
  new ResizeObserver(() => show("size")).observe(area);
  watch(show);
}

function startGraph() {
  flow("before", "Before the passes", D.before);
  flow("after", "After the passes", D.after);
}
