// The data, small helpers, and what is selected.
//
// D.before, D.after: [name, layer, op, type, nodes read, text]. D.calls: in order. D.slots: [name, bytes, offset,
// first call, last call]. D.events, deflated: for each layer [pass, change, text].
const D = JSON.parse(document.getElementById("data").textContent);
const NAME = 0, LAYER = 1, OP = 2, TYPE = 3, READS = 4, TEXT = 5;
const MEASURED = D.run !== null;

const byId = (id) => document.getElementById(id);

// An element with attributes, text and children. Names only ever become text.
function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const k in attributes) {
    if (k === "on") for (const type in attributes.on) e.addEventListener(type, attributes.on[type]);
    else if (attributes[k] !== null && attributes[k] !== undefined) e.setAttribute(k, attributes[k]);
  }
  e.append(...children.filter((c) => c !== null));
  return e;
}

// A text that `packed` in Rust has made; null stays.
async function unpacked(base64) {
  if (base64 === null) return null;
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(inflated).text();
}

// `f` when it is first asked for.
function once(f) {
  let value;
  return () => (value === undefined ? (value = f()) : value);
}

function svg(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  e.append(...children);
  return e;
}

// Three significant digits.
function short(x) {
  if (!isFinite(x)) return "–";
  if (x === 0) return "0";
  const a = Math.abs(x);
  return a >= 100 ? Math.round(x).toLocaleString("en-US") : x.toFixed(a >= 10 ? 1 : a >= 1 ? 2 : 3);
}

function scaled(x, units) {
  let i = 0;
  while (Math.abs(x) >= 999.5 && i < units.length - 1) {
    x /= 1000;
    i++;
  }
  return [i === 0 ? String(Math.round(x)) : short(x), units[i]];
}

const bytes = (x) => scaled(x, ["B", "kB", "MB", "GB"]).join(" ");
const quantity = (x) => scaled(x, ["", "k", "M", "G", "T"]).join(" ").trim();
const time = (us) => (us >= 999.5 ? short(us / 1e3) + " ms" : short(us) + " µs");
const percent = (x) => (x * 100).toFixed(x < 0.0995 ? 1 : 0) + " %";
const counted = (n, what) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;

// The kind of an op decides its colour.
const KINDS = [
  ["conv", "convolution"], ["winograd", "Winograd"], ["dense", "dense"], ["pool", "pooling"], ["move", "data movement"],
  ["other", "elementwise"],
];
function kindOf(op) {
  if (op.startsWith("winograd")) return "winograd";
  if (op.includes("conv")) return "conv";
  if (op === "dense" || op === "matmul" || op === "gemm") return "dense";
  if (op.includes("pool")) return "pool";
  if (/^(reorder|pad|subsample|transpose|reshape|concat|flatten|slice|copy|crop)/.test(op)) return "move";
  return "other";
}

const calls = D.calls;
calls.forEach((c, i) => {
  c.at = i;
  c.kind = kindOf(c.op);
  c.us = MEASURED ? c.measured : c.predicted;
});
const total = calls.reduce((sum, c) => sum + c.us, 0);
const guessed = calls.reduce((sum, c) => sum + c.predicted, 0);
// What most of the calls that take time at all can be seen on.
const longest = Math.max(1e-9, ...calls.map((c) => c.us));

const callsOf = D.layers.map(() => []);
for (const c of calls) if (c.layer !== null) callsOf[c.layer].push(c.at);

// Every node of either graph by its name.
const layerNamed = new Map();
for (const n of [...D.before, ...D.after]) if (n[LAYER] !== null) layerNamed.set(n[NAME], n[LAYER]);

// The selection: a layer, and one of its calls if it has any; or a call of no layer, which copies an input to an output.
const selected = { layer: -1, call: -1 };
const selectedName = () => (selected.layer < 0 ? calls[selected.call].node : D.layers[selected.layer]);
const watchers = [];
const watch = (f) => watchers.push(f);

// `by` says where from: views need not scroll to what was clicked in them.
function select(layer, call, by) {
  if (layer === null) layer = -1;
  if (!(call >= 0)) call = callsOf[layer]?.[0] ?? -1;
  if (layer < 0 && call < 0) return;
  if (selected.layer === layer && selected.call === call) return;
  Object.assign(selected, { layer, call });
  try {
    history.replaceState(null, "", "#" + encodeURIComponent(selectedName()));
  } catch {
    // Not every place that shows a file lets it change its address.
  }
  for (const f of watchers) f(by);
}

const selectCall = (at, by) => select(calls[at].layer, at, by);

function fromAddress() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // As it stands.
  }
  name = name.replace(/^%/, "");
  const layer = layerNamed.get(name);
  const call = calls.findIndex((c) => c.layer === null && c.node === name);
  if (layer === undefined && call < 0) return false;
  if (layer === undefined) selectCall(call, "address");
  else select(layer, -1, "address");
  return true;
}

// The label beside the pointer.
const tip = byId("tip");
function showTip(event, head, text) {
  tip.replaceChildren(el("b", {}, head), "\n" + text);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
  const below = event.clientY + 16;
  tip.style.top = (below + box.height > innerHeight - 4 ? event.clientY - box.height - 10 : below) + "px";
}
const hideTip = () => (tip.hidden = true);

function callTip(c) {
  const parts = [`${c.op} · call ${c.at}`];
  if (MEASURED) parts.push(`measured ${time(c.measured)} · ${percent(c.measured / total)} of all`);
  parts.push(`predicted ${time(c.predicted)} · bound by ${c.roof}`);
  if (c.flops) parts.push(`${short(c.flops / c.us / 1e3)} GFLOP/s`);
  return parts.join("\n");
}

// Draws again when the place for a picture changes its size.
function drawn(id, draw) {
  const at = byId(id);
  const again = () => {
    const { clientWidth: w, clientHeight: h } = at;
    if (w > 40 && h > 40) at.replaceChildren(draw(w, h));
  };
  new ResizeObserver(again).observe(at);
  again();
  return again;
}

// Steps of an axis from 0 to `most`: 1, 2 or 5 times a power of ten.
function ticks(most, count) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  return Array.from({ length: Math.floor((most / step) * 1.0001) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}
