// The roofline: each kernel by its arithmetic intensity and rate, below what memory and multiply-adds allow.
// Source: Williams, Waterman and Patterson, CACM 2009.
const kernels = D.kernels.map((k, i) => {
  const of = calls.filter((c) => c.kernel === i);
  const sum = (f) => of.reduce((s, c) => s + f(c), 0);
  const [flops, moved, us, guess] = [sum((c) => c.flops), sum((c) => c.bytes), sum((c) => c.us), sum((c) => c.predicted)];
  return {
    ...k, at: i, calls: of, flops, moved, us, guess, intensity: flops / moved, rate: flops / us / 1e3,
    guessRate: flops / guess / 1e3, kind: of.length ? of[0].kind : "other",
  };
});

const log = Math.log10;

function drawRoof(w, h) {
  const dots = kernels.filter((k) => k.flops > 0 && k.moved > 0).sort((a, b) => b.us - a.us);
  const peak = D.machine.peak_gflops;
  const levels = D.machine.levels.filter(([name]) => name !== "L1");
  const xs = dots.map((k) => log(k.intensity));
  const ys = dots.flatMap((k) => [log(k.rate), log(k.guessRate)]);
  const ridge = levels.length ? log(peak / levels[levels.length - 1][1]) : 1;
  const [x0, x1] = [Math.min(-1, ...xs) - 0.15, Math.max(2, ridge + 0.4, ...xs) + 0.2];
  // What a busy machine measured above all roofs stays at the edge.
  const [y0, y1] = [Math.max(log(peak) - 4, Math.min(log(peak) - 2, ...ys)) - 0.15, log(peak) + 0.3];
  const left = 40, right = 10, top = 6, below = 30;
  const x = (v) => left + ((v - x0) / (x1 - x0)) * (w - left - right);
  const y = (v) => h - below - ((v - y0) / (y1 - y0)) * (h - below - top);
  const held = (v) => y(Math.max(y0, Math.min(y1, v)));
  const root = svg("svg", { width: w, height: h, role: "group", "aria-label": `Roofline of ${counted(dots.length, "kernel")}` });
  const plain = (v) => (v >= 1 ? (10 ** v).toLocaleString("en-US") : String(10 ** v));
  for (let v = Math.ceil(x0); v <= x1; v++) {
    root.append(svg("line", { class: "grid", x1: x(v), x2: x(v), y1: top, y2: h - below }));
    root.append(svg("text", { x: x(v), y: h - below + 13, "text-anchor": "middle" }, v < 0 ? (10 ** v).toFixed(-v) : plain(v)));
  }
  for (let v = Math.ceil(y0); v <= y1; v++) {
    root.append(svg("line", { class: "grid", x1: left, x2: w - right, y1: y(v), y2: y(v) }));
    root.append(svg("text", { x: left - 5, y: y(v) + 3.5, "text-anchor": "end" }, v < 0 ? (10 ** v).toFixed(-v) : plain(v)));
  }
  root.append(svg("text", { x: w - right, y: h - 4, "text-anchor": "end" }, "FLOP a byte moved"));
  root.append(svg("text", { x: left + 5, y: top + 10 }, "GFLOP/s"));
  const clip = svg("clipPath", { id: "roofclip" }, svg("rect", { x: left, y: top, width: w - left - right, height: h - below - top }));
  const inside = svg("g", { "clip-path": "url(#roofclip)" });
  root.append(clip, inside);
  for (const [name, rate] of levels) {
    const end = log(peak / rate);
    const thin = name === "DRAM" ? "" : " thin";
    inside.append(svg("path", { class: "roofs" + thin, d: `M${x(x0)} ${y(x0 + log(rate))}L${x(end)} ${y(log(peak))}` }));
    // Where the roof enters the picture; the next one's name stands higher, beside its line and not on the first.
    const [enters, leaves] = [Math.max(x0, y0 - log(rate)), Math.min(end, x1)];
    const at = enters + 0.06 + (name === "L2" ? 0.45 : 0.03) * (leaves - enters);
    const turn = (Math.atan2(y(0) - y(1), x(1) - x(0)) * 180) / Math.PI;
    const [tx, ty] = [x(at), y(at + log(rate)) - 4];
    inside.append(svg("text", { x: tx, y: ty, transform: `rotate(${-turn} ${tx} ${ty})` }, `${name} ${short(rate)} GB/s`));
  }
  const from = levels.length ? log(peak / Math.max(...levels.map((l) => l[1]))) : x0;
  inside.append(svg("path", { class: "roofs", d: `M${x(from)} ${y(log(peak))}H${w}` }));
  root.append(svg("text", { x: w - right - 2, y: y(log(peak)) - 5, "text-anchor": "end" }, `${short(peak)} GFLOP/s multiply-adds`));
  const most = Math.max(...dots.map((k) => k.us));
  for (const k of dots) {
    const r = 3.5 + 7 * Math.sqrt(k.us / most);
    const say = `${counted(k.calls.length, "call")}, ${time(k.us)}, ${percent(k.us / total)} of all\n` +
      `${short(k.rate)} GFLOP/s, ${percent(k.rate / peak)} of the peak\n` +
      (MEASURED ? `predicted ${short(k.guessRate)} GFLOP/s\n` : "") + `${short(k.intensity)} FLOP a byte`;
    const choose = () => selectCall((k.calls.find((c) => c.at > selected.call) || k.calls[0]).at, "roof");
    const main = svg("circle", {
      class: MEASURED ? "dot" : "ring", cx: x(log(k.intensity)), cy: held(log(k.rate)), r, tabindex: 0, role: "button",
      "aria-label": `${k.name}: ${say}`, "data-kernel": k.at, "fill-opacity": MEASURED ? "" : 0, "pointer-events": "all",
    });
    main.addEventListener("click", choose);
    main.addEventListener("keydown", (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), choose()));
    main.addEventListener("mousemove", (e) => showTip(e, k.name, say));
    main.addEventListener("mouseleave", hideTip);
    const group = svg("g", { class: "c-" + k.kind });
    if (MEASURED) {
      const cx = x(log(k.intensity)), cy = held(log(k.guessRate));
      group.append(svg("line", { class: "lead", x1: cx, x2: cx, y1: held(log(k.rate)), y2: cy }));
      group.append(svg("line", { class: "lead", x1: cx - 4, x2: cx + 4, y1: cy, y2: cy }));
    }
    group.append(main);
    root.append(group);
  }
  markRoof(root);
  return root;
}

function markRoof(root) {
  const mine = selected.call < 0 ? -1 : calls[selected.call].kernel;
  for (const c of root.querySelectorAll("[data-kernel]")) c.classList.toggle("on", Number(c.dataset.kernel) === mine);
}

function startRoof() {
  const out = kernels.filter((k) => k.calls.length && !(k.flops > 0)).length;
  const cpu = D.machine.cpu.replace(/ \d+-Core Processor/, "");
  byId("cap-roof").append(el("b", {}, "Roofline"), ` · ${cpu}, ${D.machine.origin} rates`);
  byId("cap-roof").title = out ? `${counted(out, "kernel")} without arithmetic not shown` : "";
  drawn("roofline", drawRoof);
  watch(() => markRoof(byId("roofline")));
}
