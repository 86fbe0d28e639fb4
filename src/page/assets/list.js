// All calls as rows with a bar each. Only the rows in sight are elements.
const ROW = 24;
const rows = byId("rows");
const filler = el("div", { "aria-hidden": "true" });
let shown = calls.map((c) => c.at);

// What a call is found by: also the nodes that went into its layer, and the reasons for which passes left them alone.
const words = once(() => {
  const of = D.layers.map((_, i) => [...new Set(D.refused[i].map(([, reason]) => D.reasons[reason][1]))]);
  for (const n of D.before) if (n[LAYER] !== null) of[n[LAYER]].push(n[NAME]);
  return calls.map((c) => [c.node, c.op, D.kernels[c.kernel].name, ...(of[c.layer] || [])].join(" ").toLowerCase());
});

function matching() {
  const wanted = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = wanted.length ? calls.filter((c) => wanted.every((w) => words()[c.at].includes(w))) : [...calls];
  const sort = byId("sort").value;
  const miss = (c) => Math.abs(Math.log(Math.max(c.predicted, 1e-6) / Math.max(c.us, 1e-6))) * c.us;
  if (sort === "time") found.sort((a, b) => b.us - a.us);
  if (sort === "missed") found.sort((a, b) => miss(b) - miss(a));
  return found.map((c) => c.at);
}

function track(c) {
  const width = (us) => Math.min(100, (us / longest) * 100).toFixed(2) + "%";
  const bar = el("i", { class: MEASURED ? null : "guess", style: `width:${width(c.us)}` });
  const mark = MEASURED ? el("b", { style: `left:${width(c.predicted)}` }) : null;
  return el("span", { class: `track c-${c.kind}` }, bar, mark);
}

function row(position) {
  const c = calls[shown[position]];
  return el(
    "div",
    {
      class: "row", role: "option", id: "call-" + c.at, "aria-selected": c.at === selected.call,
      "aria-setsize": shown.length, "aria-posinset": position + 1, style: `top:${position * ROW}px`, "data-at": c.at,
    },
    el("span", { class: "at" }, String(c.at)),
    el("span", { title: c.node }, c.node),
    el("span", { class: "op" }, c.op),
    track(c),
    el("span", { class: "num" }, short(c.us)),
  );
}

function drawRows() {
  const first = Math.max(0, Math.floor(rows.scrollTop / ROW) - 8);
  const last = Math.min(shown.length, Math.ceil((rows.scrollTop + rows.clientHeight) / ROW) + 8);
  const out = [filler];
  for (let i = first; i < last; i++) out.push(row(i));
  rows.replaceChildren(...out);
  const here = shown.indexOf(selected.call);
  if (here >= first && here < last) rows.setAttribute("aria-activedescendant", "call-" + selected.call);
  else rows.removeAttribute("aria-activedescendant");
}

function reveal() {
  const top = shown.indexOf(selected.call) * ROW;
  if (top < 0) return;
  if (top < rows.scrollTop || top + ROW > rows.scrollTop + rows.clientHeight) {
    rows.scrollTop = Math.round((top - rows.clientHeight / 2) / ROW) * ROW;
  }
}

function filterRows() {
  shown = matching();
  filler.style.height = shown.length * ROW + "px";
  const sum = shown.reduce((s, at) => s + calls[at].us, 0);
  const all = counted(calls.length, "call"), isPart = shown.length < calls.length;
  byId("count").textContent = isPart
    ? `${shown.length.toLocaleString("en-US")} of ${all} · ${time(sum)} · ${percent(sum / total)}`
    : `${all} · ${time(sum)}`;
  rows.scrollTop = 0;
  reveal();
  drawRows();
}

function searchFor(text) {
  byId("search").value = text;
  filterRows();
  byId("search").focus();
}

function move(by) {
  if (!shown.length) return;
  const here = shown.indexOf(selected.call);
  const next = here < 0 ? 0 : Math.max(0, Math.min(shown.length - 1, here + by));
  selectCall(shown[next], "keys");
}

function startList() {
  byId("barhead").textContent = MEASURED ? "measured" : "predicted";
  byId("search").addEventListener("input", filterRows);
  byId("sort").addEventListener("change", filterRows);
  let waiting = false;
  rows.addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(() => ((waiting = false), drawRows()));
    waiting = true;
  });
  new ResizeObserver(drawRows).observe(rows);
  const at = (event) => event.target.closest("[data-at]");
  rows.addEventListener("click", (event) => at(event) && selectCall(Number(at(event).dataset.at), "list"));
  rows.addEventListener("mousemove", (event) => {
    const r = at(event);
    if (r) showTip(event, calls[r.dataset.at].node, callTip(calls[r.dataset.at]));
    else hideTip();
  });
  rows.addEventListener("mouseleave", hideTip);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 };
  const keys = (event) => {
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.id === "search" && (event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    move(steps[event.key]);
  };
  rows.addEventListener("keydown", keys);
  byId("search").addEventListener("keydown", keys);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      byId("search").focus();
    }
  });
  watch((by) => {
    if (by !== "list") reveal();
    drawRows();
  });
  filterRows();
}
