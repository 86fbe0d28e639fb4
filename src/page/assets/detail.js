// The selected layer: its facts, and four panes beside one another.
const LEVELS = [["kernel", "Kernel IR"], ["llvm", "LLVM IR"], ["asm", "Assembly"]];
const panes = {};

function pane(id, title) {
  const note = el("span", {});
  const body = el("div", { class: "body", id: "pane-" + id, tabindex: 0, role: "region", "aria-label": title });
  const wide = el("button", { type: "button", "aria-pressed": "false", title: "Give this pane all the width" }, "widen");
  const head = el("h3", {}, title, note);
  if (id !== "graph") {
    const copy = el("button", { type: "button", title: "Copy this text" }, "copy");
    copy.addEventListener("click", () => {
      const done = (word) => {
        copy.textContent = word;
        setTimeout(() => (copy.textContent = "copy"), 900);
      };
      navigator.clipboard ? navigator.clipboard.writeText(body.textContent).then(() => done("copied"), () => done("no access")) : done("no access");
    });
    head.append(copy);
  }
  head.append(wide);
  const root = el("section", { class: "pane" }, head, body);
  wide.addEventListener("click", () => {
    const on = root.classList.toggle("wide");
    byId("panes").classList.toggle("one", on);
    wide.textContent = on ? "side by side" : "widen";
    wide.setAttribute("aria-pressed", on);
  });
  panes[id] = { body, note };
  byId("panes").append(root);
}

// Colours by ranges, not by elements: a text of 10,000 lines stays one node. Where a browser lacks them, it is plain.
const WORDS = {
  kernel: { comment: /\/\/.*/g, word: /\b(kernel|tasks|scratch|view|opaque|for|in|out|inout|step|carry|yield|load|store|prefetch|fma|add|mul|sub|max|min|splat|const)\b/g, type: /\bf(?:32|64)(?:x\d+)?\b/g },
  llvm: { comment: /;.*/g, word: /\b(define|declare|ret|br|switch|phi|call|load|store|getelementptr|icmp|select|add|mul|sub|fadd|fmul|fsub|shl|or|and|urem|udiv|insertelement|shufflevector)\b/g, type: /<\d+ x float>|\b(?:i\d+|float|ptr|void|label)\b/g },
  asm: { comment: /#.*/g, word: /^\t[a-z]\w*/gm, type: /%[a-z]mm\d+/g, name: /^[\w.$]+:/gm },
};
const MOST_RANGES = 20000;

function colour() {
  if (!window.Highlight || !CSS.highlights) return;
  for (const kind of ["comment", "word", "type", "name"]) {
    const ranges = [];
    for (const [level] of LEVELS) {
      const node = panes[level].body.querySelector("pre")?.firstChild;
      const rule = WORDS[level][kind];
      if (!node || !rule) continue;
      let left = MOST_RANGES;
      for (const m of node.data.matchAll(rule)) {
        if (left-- === 0) break;
        const range = new StaticRange({ startContainer: node, startOffset: m.index, endContainer: node, endOffset: m.index + m[0].length });
        ranges.push(range);
      }
    }
    CSS.highlights.set(kind, new Highlight(...ranges.slice(0, 60000)));
  }
}

function code(level, kernel) {
  const { body, note } = panes[LEVELS[level][0]];
  const text = kernel === null ? null : D.kernels[kernel].texts[level];
  const why = kernel === null
    ? "No kernel: nothing of this node is left to compute."
    : `The ${D.model.backend} back end writes no text; compile with --backend llvm.`;
  body.replaceChildren(text === null ? el("div", { class: "wrap" }, el("p", { class: "none" }, why)) : el("pre", {}, text));
  body.scrollTop = body.scrollLeft = 0;
  note.textContent = text === null ? "" : counted(text.split("\n").length, "line");
}

// A line of a graph, its name set off.
function line(text, before, attributes) {
  const at = text.indexOf(" = ");
  return el("code", attributes || {}, before || "", el("b", {}, text.slice(0, at)), text.slice(at));
}

function passLog() {
  const mine = D.events[selected.layer] || [];
  const kept = D.refused[selected.layer] || [];
  return D.passes.map((p, i) => {
    const did = mine.filter(([pass]) => pass === i);
    const why = kept.filter(([, reason]) => D.reasons[reason][0] === p.name);
    const state = did.length ? ["did", "acted"] : why.length ? ["kept", "left alone"] : ["", "nothing to do"];
    const lines = did.map(([, change, text]) => line(text, "+~−"[change] + " ", { class: ["add", "", "gone"][change] }));
    const reasons = why.map(([node, reason]) =>
      el("div", { class: "why" }, el("span", { class: "mono" }, "%" + node + " "), `${D.reasons[reason][2]} (${D.reasons[reason][1]})`));
    return el(
      "div", { class: "pass" + (did.length || why.length ? "" : " idle") },
      el("div", {}, el("b", { title: p.doc }, p.name), el("span", { class: state[0] }, state[1])), ...reasons, ...lines,
    );
  });
}

function graphPane() {
  const lines = (nodes) => {
    const mine = nodes.filter((n) => n[LAYER] === selected.layer);
    return mine.length ? mine.map((n) => line(n[TEXT])) : [el("p", { class: "none" }, "no node")];
  };
  panes.graph.body.replaceChildren(
    el("div", { class: "wrap" }, el("h4", {}, "Before the passes"), ...lines(D.before), el("h4", {}, "After the passes"), ...lines(D.after),
      el("h4", {}, "What the passes did"), ...passLog()),
  );
  panes.graph.body.scrollTop = 0;
}

function head() {
  const kv = (name, value) => el("span", { class: "kv" }, name + " ", el("b", {}, value));
  const out = [el("h2", { title: selectedName() }, "%" + selectedName())];
  const c = selected.call < 0 ? null : calls[selected.call];
  if (c) {
    const peak = D.machine.peak_gflops;
    out.push(el("span", { class: `chip c-${c.kind}` }, el("i", {}), c.op));
    out.push(kv("kernel", D.kernels[c.kernel].name));
    if (MEASURED) out.push(kv("measured", time(c.measured)));
    out.push(kv("predicted", time(c.predicted)), kv("bound by", c.roof));
    if (c.flops) out.push(kv(MEASURED ? "GFLOP/s" : "GFLOP/s, predicted", `${short(c.flops / c.us / 1e3)} (${percent(c.flops / c.us / 1e3 / peak)})`));
    out.push(kv("moves", bytes(c.bytes)));
    const others = callsOf[selected.layer] || [];
    if (others.length > 1) {
      const next = others[(others.indexOf(c.at) + 1) % others.length];
      const button = el("button", { type: "button", on: { click: () => select(selected.layer, next, "head") } }, `call ${others.indexOf(c.at) + 1} of ${others.length}`);
      out.push(el("span", { class: "kv" }, button));
    }
  } else out.push(el("span", { class: "kv" }, "computes nothing at run time"));
  byId("head").replaceChildren(...out);
}

function startDetail() {
  pane("graph", "Graph and passes");
  for (const [id, title] of LEVELS) pane(id, title);
  let kernel;
  watch(() => {
    head();
    graphPane();
    const now = selected.call < 0 ? null : calls[selected.call].kernel;
    if (now === kernel) return;
    kernel = now;
    LEVELS.forEach((_, level) => code(level, kernel));
    colour();
  });
}
