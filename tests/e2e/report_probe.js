// Uses a report page as a reader does, and leaves what it saw in an element that a test reads.
function use() {
  const byId = (id) => document.getElementById(id);
  const count = (selector) => document.querySelectorAll(selector).length;
  const head = () => document.querySelector("#head h2").textContent;
  const panes = () => Object.fromEntries(["graph", "kernel", "llvm", "asm"].map((p) => [p, byId("pane-" + p).textContent]));
  const press = (key) => byId("rows").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const saw = { address: head(), panes: panes(), shownRow: count("#rows [aria-selected=true]") };
  saw.drawn = { bars: count("#time path.fill"), slots: count("#arena rect.slot") - 1, dots: count("#roofline [data-kernel]") };
  saw.images = count("img");
  const keys = { home: "Home", down: "ArrowDown", up: "ArrowUp", end: "End" };
  saw.keys = {};
  for (const k in keys) {
    press(keys[k]);
    saw.keys[k] = head();
  }
  saw.end = { hash: decodeURIComponent(location.hash), panes: panes() };
  const search = byId("search");
  search.value = "layer1.0.bn1";
  search.dispatchEvent(new Event("input"));
  saw.absorbed = document.querySelector("#rows .row").textContent;
  search.value = "logits dense";
  search.dispatchEvent(new Event("input"));
  saw.found = count("#rows .row");
  document.querySelector("#rows .row").click();
  saw.clicked = head();
  byId("tab-passes").click();
  saw.passes = count("#view-passes tbody tr");
  const reason = document.querySelector("#view-passes button");
  if (reason) reason.click();
  saw.left = { alone: search.value, found: count("#rows .row") };
  byId("tab-kernels").click();
  saw.kernels = count("#view-kernels tbody tr");
  document.querySelector("#view-kernels tbody tr").click();
  byId("tab-graph").click();
  setTimeout(() => {
    saw.nodes = { before: count("#before .node"), after: count("#after .node") };
    const node = document.querySelector("#before .node");
    node.click();
    saw.node = { name: node.firstChild.textContent, before: byId("pane-graph").textContent };
    saw.layout = document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight;
    const out = document.createElement("script");
    out.type = "application/json";
    out.id = "probe";
    out.textContent = JSON.stringify(saw).replaceAll("<", "\\u003c");
    document.body.append(out);
  }, 300);
}

// The page is ready when its texts are unpacked.
function whenReady() {
  const { ready, error } = document.documentElement.dataset;
  ready || error ? setTimeout(use, 300) : setTimeout(whenReady, 50);
}
whenReady();
