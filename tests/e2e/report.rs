//! `rescc report`: the page is complete and self-contained, and works in a browser.

use crate::command::{Scratch, rescc, rescc_in};
use crate::{skip, test};
use flate2::read::DeflateDecoder;
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    let mut trials = vec![
        test("report::one_page_holds_everything", everything),
        test("report::nothing_is_run", nothing_is_run),
        test("report::what_became_of_a_node", history),
        test("report::batches_in_groups", groups),
        test("report::names_are_hostile", hostile_names),
        test("report::what_cannot_be_reported_is_said", refusals),
    ];
    let in_browser: [(&str, fn(PathBuf)); 4] = [
        ("report::browser_resnet20", resnet20),
        ("report::browser_resnet1202", resnet1202),
        ("report::browser_one_call", one_call),
        ("report::browser_that_is_too_old", old_browser),
    ];
    for (name, f) in in_browser {
        trials.push(match browser() {
            Some(chromium) => test(name, move || f(chromium)),
            None => skip(name, "no Chromium: install it, or name one in RESCC_CHROMIUM"),
        });
    }
    trials
}

/// A model and the folder that it is in.
fn model(depth: &str) -> (Scratch, String) {
    let dir = Scratch::new();
    let model = dir.path("m.rir");
    rescc(&["new", "cifar-resnet", "--depth", depth, "-o", &model]).succeeds();
    (dir, model)
}

/// The page of a model, made with these options.
#[track_caller]
fn page(dir: &Scratch, model: &str, options: &[&str]) -> String {
    rescc(&[&["report", model, "-o", &dir.path("r.html")], options].concat()).succeeds();
    String::from_utf8(dir.read("r.html")).expect("the page is UTF-8")
}

/// The page's data.
#[track_caller]
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").expect("a data block");
    let (block, _) = rest.split_once("</script>").expect("the block has an end");
    serde_json::from_str(block).expect("the block parses")
}

#[track_caller]
fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().unwrap_or_else(|| panic!("{key} is no list"))
}

/// Inflates a text of the page.
#[track_caller]
fn text(packed: &Value) -> String {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let base64 = packed.as_str().expect("a text").as_bytes();
    let words = base64.chunks(4).map(|c| c.iter().fold(0, |w, &c| w << 6 | digit(c)));
    let bytes: Vec<u8> = words.flat_map(|w| w.to_be_bytes()[1..].to_vec()).collect();
    let mut out = String::new();
    DeflateDecoder::new(&bytes[..]).read_to_string(&mut out).expect("deflated text");
    out
}

/// Nodes of the calls, in order, of the program that `compile` makes.
fn nodes_of_calls(dir: &Scratch, model: &str) -> Vec<String> {
    let program = dir.path("p.rir");
    rescc(&["compile", model, "--target", "native", "--emit", "rir", "-o", &program]).succeeds();
    let text = String::from_utf8(dir.read("p.rir")).expect("text");
    let node = |l: &str| Some(l.split_once(" node \"")?.1.split_once('"')?.0.to_string());
    text.lines().filter(|l| l.starts_with("  call ")).filter_map(node).collect()
}

fn everything() {
    let (dir, model) = model("20");
    let page = page(&dir, &model, &["--time", "0.01", "--threads", "1"]);
    for at in page.match_indices("://").map(|(at, _)| at) {
        assert!(page[..at + 18].ends_with("http://www.w3.org/2000"), "{}", &page[at - 60..at + 60]);
    }
    for loading in ["src=", "href=", "@import", "url(h", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(loading), "the page has {loading}");
    }
    let d = data(&page);
    assert_eq!(d["schema"], "rescc.report/1");
    let calls = list(&d, "calls");
    let nodes: Vec<&str> = calls.iter().filter_map(|c| c["node"].as_str()).collect();
    assert_eq!(nodes, nodes_of_calls(&dir, &model));
    for c in calls {
        let positive = |key: &str| c[key].as_f64().is_some_and(|x| x >= 0.0);
        assert!(positive("measured") && positive("predicted") && positive("bytes") && c["layer"].is_u64(), "{c}");
    }
    assert!(d["run"]["median_us"].as_f64() > Some(0.0));
    assert!(list(&d, "slots").len() > 20);
    for k in list(&d, "kernels") {
        let (module, problems) = ir::text::parse(&format!("rir 1\n\n{}", text(&k["texts"][0])));
        assert_eq!(problems.to_string(), "");
        assert_eq!(k["name"], module.kernels[0].name);
        let symbol = format!("k_{}", module.kernels[0].name);
        for level in [1, 2] {
            let there = cfg!(feature = "llvm");
            assert!(k["texts"][level].is_null() != there, "{k}");
            assert!(!there || text(&k["texts"][level]).contains(&symbol));
        }
    }
}

fn nothing_is_run() {
    let (dir, model) = model("8");
    let d = data(&page(&dir, &model, &["--no-run", "--target", "x86-64-v2"]));
    assert!(d["run"].is_null());
    assert!(list(&d, "calls").iter().all(|c| c["measured"].is_null() && c["predicted"].as_f64() > Some(0.0)));
    assert!(
        d["machine"]["peak_gflops"].as_f64() > Some(0.0) && d["model"]["target"] == "x86-64-v2",
        "{}",
        d["machine"]
    );
    let d = data(&page(&dir, &model, &["--no-run", "--backend", "cranelift"]));
    assert!(list(&d, "kernels").iter().all(|k| k["texts"][0].is_string() && k["texts"][2].is_null()));
}

/// Every node of the network belongs to a layer, and what passes did to it is there.
fn history() {
    let (dir, model) = model("8");
    let d = data(&page(&dir, &model, &["--no-run"]));
    let layer = |name: &str| {
        let before = list(&d, "before").iter().find(|n| n[0] == name).unwrap_or_else(|| panic!("no {name}"));
        before[1].as_u64().and_then(|l| d["layers"][l as usize].as_str()).expect("it has a layer").to_string()
    };
    assert_eq!(["conv1", "bn1", "relu1"].map(layer), ["relu1", "relu1", "relu1"]);
    let events: Value = serde_json::from_str(&text(&d["events"])).expect("events");
    let pass = |name| list(&d, "passes").iter().position(|p| p["name"] == name).expect("the pass ran");
    let of_first = events[0].as_array().expect("a list");
    let (fold, fuse) = (pass("fold-bn"), pass("fuse-epilogue"));
    let did = |p: usize, change: u64, text: &str| {
        of_first.iter().any(|e| e[0] == p && e[1] == change && e[2].as_str().is_some_and(|t| t.starts_with(text)))
    };
    assert!(did(fold, 2, "%conv1 = conv2d"), "{of_first:?}");
    assert!(did(fold, 1, "%bn1 = conv2d"), "{of_first:?}");
    assert!(did(fuse, 1, "%relu1 = conv2d"), "{of_first:?}");
    let refused: usize = list(&d, "refused").iter().map(|l| l.as_array().map_or(0, Vec::len)).sum();
    assert!(refused > 0 && !list(&d, "reasons").is_empty());
    let unpassed = data(&page(&dir, &model, &["--no-run", "--passes", "dce"]));
    assert_eq!(list(&unpassed, "before").len(), list(&unpassed, "after").len());
}

/// Work of a whole batch, though the program computes a part of it at a time.
fn groups() {
    let (dir, model) = model("8");
    let one = data(&page(&dir, &model, &["--no-run"]));
    let many = data(&page(&dir, &model, &["--no-run", "--batch", "256"]));
    assert!(many["model"]["group"].as_u64() < Some(256), "{}", many["model"]);
    let macs = |d: &Value| list(d, "calls").last().and_then(|c| c["macs"].as_u64()).expect("a number");
    assert_eq!(macs(&many), 256 * macs(&one));
}

fn hostile_names() {
    let (dir, _) = model("8");
    let name = "<img src=x onerror=alert(1)>.rir";
    std::fs::copy(dir.path("m.rir"), dir.path(name)).expect("a copy");
    rescc_in(&dir, &["report", name, "-o", "r.html", "--no-run"]).succeeds();
    let page = String::from_utf8(dir.read("r.html")).expect("the page is UTF-8");
    assert!(!page.contains("<img"), "the file's name became a tag");
    assert_eq!(data(&page)["model"]["file"], name);
}

fn refusals() {
    let (dir, model) = model("8");
    let out = dir.path("r.html");
    rescc(&["report", &model, "-o", &dir.path("no/r.html")]).fails(5, &["E0803", "cannot write", "no/r.html"]);
    rescc(&["report", &dir.path("none.rir"), "-o", &out]).fails(3, &["E0805", "none.rir"]);
    rescc(&["report", &model, "-o", &out, "--target", "z80"]).fails(4, &["E0711", "z80"]);
    rescc(&["report", &model, "-o", &out, "--no-run", "--passes", "nosuch"]).fails(2, &["E0401", "nosuch"]);
    // Errors are part of the document, and the page is not in it.
    for stdout in ["-", "/dev/stdout"] {
        let outcome = rescc(&["report", &model, "-o", stdout, "--no-run", "--json"]);
        let document: Value = serde_json::from_str(&outcome.stdout).expect("one document");
        assert_eq!((outcome.code, &document["diagnostics"][0]["code"]), (Some(2), &"E0819".into()));
    }
    assert_eq!(dir.files(), ["m.rir", "m.safetensors"]);
}

/// A Chromium: what `RESCC_CHROMIUM` names, or the first of the usual names.
fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RESCC_CHROMIUM").filter(|v| !v.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|n| dir.join(n))).find(|p| p.is_file())
}

/// What the probe saw of `page`, opened at `node`. The page was drawn and nothing went wrong.
#[track_caller]
fn probe(chromium: &Path, dir: &Scratch, page: &str, node: &str) -> Value {
    let (root, saw) = look(chromium, dir, page, node, include_str!("report_probe.js"));
    assert!(root.contains("data-ready=") && !root.contains("data-error="), "<html{root}>");
    saw
}

/// The attributes of `page`, opened at `node`, and what `script` put into an element that it calls `probe`.
#[track_caller]
fn look(chromium: &Path, dir: &Scratch, page: &str, node: &str, script: &str) -> (String, Value) {
    let file = dir.write("probe.html", page.replace("</body>", &format!("<script>{script}</script></body>")));
    let dom = File::create(dir.path("dom.html")).expect("a file");
    let mut child = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"])
        .args(["--window-size=1440,900", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path("profile")))
        .arg(format!("file://{file}#{node}"))
        .stdin(Stdio::null())
        .stdout(dom)
        .stderr(Stdio::null())
        .spawn()
        .expect("Chromium starts");
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            panic!("Chromium does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let dom = String::from_utf8_lossy(&dir.read("dom.html")).into_owned();
    let root = dom.split_once("<html").and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or_default();
    let (_, rest) = dom.split_once("id=\"probe\">").unwrap_or_else(|| panic!("the probe did not end: <html{root}>"));
    let saw = serde_json::from_str(rest.split("</script>").next().unwrap_or_default()).expect("what the probe saw");
    (root.to_string(), saw)
}

/// The address selects the layer that `node` went into, with all panes.
#[track_caller]
fn check(saw: &Value, layer: &str, node: &str, calls: usize) {
    let panes = &saw["panes"];
    let has = |pane: &str, part: &str| panes[pane].as_str().is_some_and(|t| t.contains(part));
    assert_eq!(saw["address"], format!("%{layer}"));
    assert!(has("graph", &format!("%{node} = ")) && has("graph", &format!("%{layer} = ")), "{}", panes["graph"]);
    assert!(has("graph", "fold-bnacted") && has("graph", "nothing to do"), "{}", panes["graph"]);
    assert!(has("kernel", "kernel @"), "{}", panes["kernel"]);
    if cfg!(feature = "llvm") {
        assert!(has("llvm", "define ") && has("asm", "retq"), "{panes}");
    }
    assert_eq!((&saw["shownRow"], &saw["images"], &saw["layout"]), (&1.into(), &0.into(), &true.into()));
    assert!(saw["drawn"]["slots"].as_u64() > Some(20) && saw["drawn"]["bars"].as_u64() > Some(2), "{}", saw["drawn"]);
    assert!(saw["drawn"]["dots"].as_u64() > Some(8), "{}", saw["drawn"]);
    assert_eq!(saw["keys"]["home"], "%relu1");
    assert_eq!(saw["keys"]["home"], saw["keys"]["up"]);
    assert_ne!(saw["keys"]["home"], saw["keys"]["down"]);
    assert_eq!((&saw["keys"]["end"], &saw["end"]["hash"]), (&"%logits".into(), &"#logits".into()));
    assert_ne!(saw["end"]["panes"]["kernel"], panes["kernel"]);
    assert_eq!((&saw["found"], &saw["clicked"]), (&1.into(), &"%logits".into()));
    assert!(saw["absorbed"].as_str().is_some_and(|t| t.contains("layer1.0.relu1")), "{}", saw["absorbed"]);
    assert!(saw["left"]["alone"] != "logits dense" && saw["left"]["found"].as_u64() > Some(0), "{}", saw["left"]);
    assert!(saw["passes"].as_u64() > Some(5) && saw["kernels"].as_u64() > Some(8), "{saw}");
    // Only what is in sight has elements.
    let nodes = |side: &str| saw["nodes"][side].as_u64().unwrap_or(0) as usize;
    assert!((10..200).contains(&nodes("before")) && (10..200).contains(&nodes("after")), "{calls}: {}", saw["nodes"]);
    let (name, pane) = (saw["node"]["name"].as_str(), saw["node"]["before"].as_str());
    assert!(pane.zip(name).is_some_and(|(pane, name)| pane.contains(name)), "{}", saw["node"]);
}

fn resnet20(chromium: PathBuf) {
    let (dir, model) = model("20");
    let page = page(&dir, &model, &["--time", "0.01"]);
    let saw = probe(&chromium, &dir, &page, "layer2.1.bn1");
    check(&saw, "layer2.1.relu1", "layer2.1.bn1", 41);
}

fn resnet1202(chromium: PathBuf) {
    let (dir, model) = model("1202");
    let page = page(&dir, &model, &["--no-run"]);
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let saw = probe(&chromium, &dir, &page, "layer2.150.conv1");
    check(&saw, "layer2.150.relu1", "layer2.150.conv1", list(&data(&page), "calls").len());
}

/// What a page of few calls shows, and a page that cannot be drawn.
const FEW_CALLS: &str = r##"
(function look() {
  const { ready, error } = document.documentElement.dataset;
  if (!ready && !error) return setTimeout(look, 50);
  const text = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent).join("\n");
  const out = document.createElement("script");
  out.type = "application/json";
  out.id = "probe";
  out.textContent = JSON.stringify({
    facts: text("#facts div"), count: text("#count"), head: text("#head h2"), kind: text("#head .c-move"),
    kernel: text("#pane-kernel"), arena: text("#cap-arena"), lines: document.querySelectorAll("#arena line").length,
    banner: getComputedStyle(document.documentElement, "::before").content,
  }).replaceAll("<", "\\u003c");
  document.body.append(out);
})();
"##;

fn one_call(chromium: PathBuf) {
    let dir = Scratch::new();
    let shape = "f32[N,3,4,4]";
    for (node, output, line, kind) in
        [("y", "%y", format!("  %y = relu %x : {shape}\n"), ""), ("x.1", "%x", String::new(), "copy")]
    {
        let text = format!("rir 1\n\ngraph @small(%x: {shape}) -> ({output}) where N in 1..4 {{\n{line}}}\n");
        let page = page(&dir, &dir.write("m.rir", text), &["--no-run"]);
        for address in [node, ""] {
            let (root, saw) = look(&chromium, &dir, &page, address, FEW_CALLS);
            assert!(!root.contains("data-error="), "<html{root}>");
            let has = |key: &str, part: &str| saw[key].as_str().is_some_and(|t| t.contains(part));
            assert_eq!((&saw["head"], &saw["kind"]), (&format!("%{node}").into(), &kind.into()), "{saw}");
            assert!(has("kernel", "kernel @") && has("count", "1 call "), "{saw}");
            assert!(has("facts", "parameters0\nactivations0 B") && has("arena", "No arena"), "{saw}");
            assert_eq!((&saw["lines"], &saw["banner"]), (&0.into(), &"none".into()), "{saw}");
        }
    }
}

/// What cannot be drawn is said.
fn old_browser(chromium: PathBuf) {
    let (dir, model) = model("8");
    let page = page(&dir, &model, &["--no-run"]);
    let page = page.replacen("<head>", "<head><script>delete window.DecompressionStream</script>", 1);
    let (_, saw) = look(&chromium, &dir, &page, "", FEW_CALLS);
    let banner = saw["banner"].as_str().unwrap_or_default();
    assert!(banner.contains("cannot be drawn here") && banner.contains("DecompressionStream"), "{saw}");
}
