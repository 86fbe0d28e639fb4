// Tables: what each pass did, and what each kernel takes.
function table(heads, body) {
  const head = heads.map(([text, num]) => el("th", { class: num ? "num" : null, scope: "col" }, text));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body));
}

const cell = (text, num) => el("td", { class: num ? "num" : null }, text);
const arrow = ([a, b]) => (a === b ? String(a) : `${a} → ${b}`);

function startPasses() {
  const counts = D.reasons.map(() => 0);
  for (const of of D.refused) for (const [, reason] of of) counts[reason]++;
  const body = D.passes.map((p, i) => {
    const kept = D.reasons.map((r, j) => [r, counts[j]]).filter(([r, n]) => r[0] === p.name && n > 0);
    const lines = kept.map(([r, n]) => {
      const find = { type: "button", class: "link kept", title: "Show these layers in the list", on: { click: () => searchFor(r[1]) } };
      return el("div", { class: "sub" }, el("button", find, `${n}× ${r[1]}`), ` · ${r[2]}`);
    });
    const name = el("td", {}, el("code", {}, p.name), el("div", { class: "sub" }, p.doc));
    return el(
      "tr", {}, cell(String(i + 1), true), name, cell(p.patches ? String(p.patches) : "–", true), cell(arrow(p.nodes), true),
      cell(arrow(p.params), true), cell(short(p.ms), true),
      el("td", {}, ...(lines.length ? lines : [el("span", { class: "sub" }, "nothing")])),
    );
  });
  const heads = [["", 1], ["pass"], ["patches", 1], ["nodes", 1], ["parameters", 1], ["ms", 1], ["left alone, and why"]];
  byId("view-passes").append(table(heads, body));
}

function startKernels() {
  const used = kernels.filter((k) => k.calls.length).sort((a, b) => b.us - a.us);
  const peak = D.machine.peak_gflops;
  const body = used.map((k) => {
    const choose = () => selectCall(k.calls[0].at, "kernels");
    const key = (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), choose());
    const roofs = [...new Set(k.calls.map((c) => c.roof))].join(", ");
    return el(
      "tr", { class: "pick", tabindex: 0, "data-kernel": k.at, on: { click: choose, keydown: key } },
      el("td", {}, el("span", { class: `chip c-${k.kind}` }, el("i", {}), el("code", {}, k.name))),
      cell(String(k.calls.length), true), cell(short(k.us), true), cell(percent(k.us / total), true), cell(short(k.guess), true),
      cell(k.flops ? short(k.rate) : "–", true), cell(k.flops ? percent(k.rate / peak) : "–", true),
      cell(short(k.moved / k.us / 1e3), true), cell(roofs), cell(String(k.tasks), true),
    );
  });
  const heads = [
    ["kernel"], ["calls", 1], [MEASURED ? "µs" : "µs, predicted", 1], ["share", 1], ["predicted µs", 1], ["GFLOP/s", 1], ["of peak", 1],
    ["GB/s", 1], ["bound by"], ["tasks", 1],
  ];
  const view = byId("view-kernels");
  view.append(table(heads, body));
  watch(() => markRoof(view));
}
