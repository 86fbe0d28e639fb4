// Puts the page together.
function startTop() {
  const m = D.model;
  byId("title").textContent = m.name;
  const images = m.batch === 1 ? "batch 1" : `batch ${m.batch}` + (m.group < m.batch ? ` in groups of ${m.group}` : "");
  byId("subtitle").textContent = `${m.file} · ${m.target} · ${m.backend} · ${images} · ${counted(m.threads, "thread")} · rescc ${D.version}`;
  // A number, with or without a unit.
  const fact = (name, text, less) => {
    const [value, unit] = text.split(" ");
    byId("facts").append(el("div", { class: less ? "less" : null }, el("dt", {}, name), el("dd", {}, value, unit ? el("small", {}, " " + unit) : null)));
  };
  if (MEASURED) fact("median of " + counted(D.run.n, "run"), time(D.run.median_us));
  fact("predicted", time(guessed));
  fact("calls", calls.length.toLocaleString("en-US"));
  fact("kernels", String(D.kernels.length));
  // What the kernels do, which Winograd's method makes less than the network asks for.
  const flops = calls.reduce((sum, c) => sum + c.flops, 0);
  fact("of the peak rate", percent(flops / (MEASURED ? D.run.median_us : guessed) / 1e3 / D.machine.peak_gflops));
  fact("multiply-adds", quantity(m.macs), true);
  fact("parameters", quantity(m.params), true);
  // What a caller gives is more: workers have scratch in it.
  fact("activations", bytes(m.activation_bytes), true);
  fact("weights", bytes(m.weights_bytes), true);
}

const VIEWS = [["overview", "Time, memory, roofline"], ["graph", "Graph"], ["passes", "Passes"], ["kernels", "Kernels"]];

function startTabs() {
  const tabs = VIEWS.map(([id, title]) =>
    el("button", { type: "button", role: "tab", id: "tab-" + id, "aria-controls": "view-" + id, on: { click: () => open(id) } }, title));
  const open = (id) => {
    VIEWS.forEach(([other], i) => {
      byId("view-" + other).hidden = other !== id;
      tabs[i].setAttribute("aria-selected", other === id);
      tabs[i].tabIndex = other === id ? 0 : -1;
    });
  };
  const kinds = KINDS.filter(([k]) => calls.some((c) => c.kind === k));
  const legend = el("div", { class: "legend", "aria-hidden": "true" }, ...kinds.map(([k, title]) => el("span", { class: "c-" + k }, el("i", {}), title)));
  if (MEASURED) legend.append(el("span", {}, el("i", { class: "line" }), "predicted"));
  byId("tabs").append(...tabs, legend);
  byId("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const at = (tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length;
    open(VIEWS[at][0]);
    tabs[at].focus();
  });
  open("overview");
}

function startSplit() {
  const frame = byId("frame"), split = byId("split");
  let low = 44;
  const set = (percent) => {
    low = Math.max(15, Math.min(80, percent));
    frame.style.setProperty("--low", low + "%");
    split.setAttribute("aria-valuenow", Math.round(low));
  };
  set(low);
  split.addEventListener("pointerdown", (event) => {
    split.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  split.addEventListener("pointermove", (event) => {
    const box = frame.getBoundingClientRect();
    if (split.hasPointerCapture(event.pointerId)) set(((box.bottom - event.clientY) / box.height) * 100);
  });
  split.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 3, ArrowDown: -3 }[event.key];
    if (by) event.preventDefault(), set(low + by);
  });
}

// Every text, so that all that follows finds them at once.
async function unpackAll() {
  const texts = async (k) => (k.texts = await Promise.all(k.texts.map(unpacked)));
  const events = async () => (D.events = JSON.parse(await unpacked(D.events)));
  await Promise.all([events(), ...D.kernels.map(texts)]);
}

unpackAll().then(() => {
  startTop();
  startTabs();
  startSplit();
  startDetail();
  startTimeline();
  startRoof();
  startGraph();
  startPasses();
  startKernels();
  startList();
  addEventListener("hashchange", fromAddress);
  if (!fromAddress() && calls.length) selectCall(calls.reduce((a, b) => (b.us > a.us ? b : a)).at, "start");
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
});
