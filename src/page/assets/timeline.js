// Two pictures with one axis, the calls in order: the time of each, and the arena while they run.
const LEFT = 52, RIGHT = 8, BELOW = 16;
const across = (w) => (w - LEFT - RIGHT) / Math.max(1, calls.length);
const callAt = (event, box, w) =>
  Math.max(0, Math.min(calls.length - 1, Math.floor((event.clientX - box.left - LEFT) / across(w))));

function frame(w, h, most, label, count) {
  const root = svg("svg", { width: w, height: h, role: "img" });
  const y = (v) => h - BELOW - (v / most) * (h - BELOW - 8);
  for (const t of ticks(most, count)) {
    root.append(svg("line", { class: "grid", x1: LEFT, x2: w - RIGHT, y1: y(t), y2: y(t) }));
    root.append(svg("text", { x: LEFT - 6, y: y(t) + 3.5, "text-anchor": "end" }, label(t)));
  }
  for (const t of ticks(calls.length, Math.max(2, w / 110)).filter((t) => Number.isInteger(t) && t < calls.length)) {
    root.append(svg("text", { x: LEFT + t * across(w), y: h - 3 }, (t === 0 ? "call " : "") + t));
  }
  return [root, y];
}

// A band over the selected call, which moves without a new drawing.
function hair(root, w, h) {
  const band = svg("rect", { class: "hair", y: 4, height: h - BELOW - 4, width: 0, x: 0 });
  root.append(band);
  band.place = () => {
    const width = Math.max(3, across(w));
    band.setAttribute("width", selected.call < 0 ? 0 : width);
    band.setAttribute("x", LEFT + (selected.call + 0.5) * across(w) - width / 2);
  };
  band.place();
  return band;
}

function drawTime(w, h) {
  const most = Math.max(longest, ...(MEASURED ? calls.map((c) => c.predicted).sort((a, b) => a - b).slice(0, -1) : [0]));
  const [root, y] = frame(w, h, most * 1.04, (t) => t.toLocaleString("en-US"), h / 34);
  root.setAttribute("aria-label", `Time of ${counted(calls.length, "call")}, ${time(total)} together; the list has the numbers`);
  const step = across(w), gap = step > 4 ? 1 : 0, floor = h - BELOW;
  // One path a colour: thousands of bars are as cheap as one.
  const bars = {};
  for (const c of calls) {
    const x = (LEFT + c.at * step).toFixed(2), top = Math.min(y(c.us), floor - 0.5).toFixed(2);
    bars[c.kind] = (bars[c.kind] || "") + `M${x} ${floor}V${top}h${Math.max(step - gap, 0.6).toFixed(2)}V${floor}z`;
  }
  for (const k in bars) root.append(svg("g", { class: "c-" + k }, svg("path", { class: MEASURED ? "fill" : "fill pale", d: bars[k] })));
  if (MEASURED) {
    const line = calls.map((c) => `M${(LEFT + c.at * step).toFixed(2)} ${y(c.predicted).toFixed(2)}h${Math.max(step - gap, 0.6).toFixed(2)}`);
    root.append(svg("path", { class: "guess", d: line.join("") }));
  }
  root.append(svg("line", { class: "axis", x1: LEFT, x2: w - RIGHT, y1: floor, y2: floor }));
  timeHair = hair(root, w, h);
  point(root, w, (c) => selectCall(c.at, "time"), (event, c) => showTip(event, c.node, callTip(c)));
  return root;
}

function point(root, w, click, hover) {
  const call = (event) => calls[callAt(event, root.getBoundingClientRect(), w)];
  root.addEventListener("mousemove", (event) => hover(event, call(event)));
  root.addEventListener("mouseleave", hideTip);
  root.addEventListener("click", (event) => click(call(event), event));
}

let timeHair = null, arenaHair = null;
const slots = D.slots.map(([name, size, offset, first, last]) => {
  const layer = layerNamed.has(name) ? layerNamed.get(name) : -1;
  const maker = layer >= 0 ? callsOf[layer].find((at) => calls[at].node === name) : undefined;
  return { name, size, offset, first, last, layer, kind: maker === undefined ? "other" : calls[maker].kind };
});

// Most bytes that are alive at once: what no plan could do without.
function livePeak() {
  const change = new Float64Array(calls.length + 1);
  for (const s of slots) {
    change[s.first] += s.size;
    change[s.last + 1] -= s.size;
  }
  let live = 0, most = 0, at = 0;
  change.forEach((c, i) => {
    live += c;
    if (live > most) [most, at] = [live, i];
  });
  return [most, at];
}

function drawArena(w, h) {
  const most = D.model.activation_bytes;
  const [, unit] = bytes(most).split(" ");
  const one = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }[unit];
  const [root, y] = frame(w, h, most * 1.04, (t) => (t ? `${Number((t / one).toPrecision(3))} ${unit}` : "0"), h / 34);
  root.setAttribute("aria-label", `${counted(slots.length, "buffer")} in an arena of ${bytes(most)}`);
  const step = across(w);
  const box = (s) => ({
    x: LEFT + s.first * step, y: y(s.offset + s.size),
    width: Math.max((s.last - s.first + 1) * step, 1), height: Math.max(y(s.offset) - y(s.offset + s.size), 0.75),
  });
  const many = slots.length > 600;
  for (const s of slots) {
    root.append(svg("rect", { class: `slot c-${s.kind}` + (many ? " all" : ""), ...box(s) }));
  }
  root.append(svg("line", { class: "peak", x1: LEFT, x2: w - RIGHT, y1: y(most), y2: y(most) }));
  arenaHair = hair(root, w, h);
  const on = svg("rect", { class: "slot on", width: 0, height: 0 });
  root.append(on);
  arenaHair.mark = () => {
    const mine = slots.filter((s) => s.layer === selected.layer && selected.layer >= 0);
    const own = mine.find((s) => selected.call >= 0 && s.name === calls[selected.call].node) || mine[0];
    on.setAttribute("class", `slot on c-${own ? own.kind : "other"}`);
    const at = own ? box(own) : { x: 0, y: 0, width: 0, height: 0 };
    for (const k in at) on.setAttribute(k, at[k]);
  };
  arenaHair.mark();
  const slotAt = (event, c) => {
    const r = root.getBoundingClientRect();
    const offset = ((h - BELOW - (event.clientY - r.top)) / (h - BELOW - 8)) * most * 1.04;
    return slots.find((s) => s.first <= c.at && c.at <= s.last && s.offset <= offset && offset < s.offset + s.size);
  };
  point(
    root, w,
    (c, event) => {
      const s = slotAt(event, c);
      if (s && s.layer >= 0) select(s.layer, callsOf[s.layer].find((at) => calls[at].node === s.name), "arena");
      else selectCall(c.at, "arena");
    },
    (event, c) => {
      const s = slotAt(event, c);
      if (s) showTip(event, s.name, `${bytes(s.size)} at ${s.offset.toLocaleString("en-US")}\nalive from call ${s.first} to ${s.last}`);
      else showTip(event, `call ${c.at}`, "free");
    },
  );
  return root;
}

function startTimeline() {
  byId("cap-time").append(
    el("b", {}, "Time of each call, µs"),
    MEASURED
      ? ` · ${time(total)} measured, predicted ${time(guessed)} (${guessed >= total ? "+" : "−"}${percent(Math.abs(guessed / total - 1))})`
      : ` · ${time(total)} predicted; nothing was run`,
  );
  // Each call's median is what the first thread sees: where others take its core, the sum is not the whole.
  const share = MEASURED ? total / D.run.median_us : 1;
  if (Math.abs(share - 1) > 0.1) {
    const text = `calls add up to ${percent(share)} of the median run: the machine was busy`;
    byId("cap-time").append(el("span", { class: "warn" }, " · " + text));
    byId("cap-time").title = text + "; measure on an idle one, or with --threads 1";
  }
  drawn("time", drawTime);
  if (D.model.activation_bytes > 0) {
    const [live, at] = livePeak();
    byId("cap-arena").append(
      el("b", {}, "Activations in the arena"),
      ` · ${bytes(D.model.activation_bytes)}; most alive at once ${bytes(live)}, at call ${at}`,
    );
    drawn("arena", drawArena);
  } else byId("cap-arena").append(el("b", {}, "No arena"), " · nothing is kept from one call to the next");
  watch(() => {
    for (const h of [timeHair, arenaHair]) if (h) h.place();
    if (arenaHair) arenaHair.mark();
  });
}
