//! `rescc report`: one HTML file to look into a compiled model. It needs no network and no other file.
//!
//! | module | is |
//! |---|---|
//! | `history` | the graph after each pass: what became of every node, and why passes left some alone |
//! | `texts` | Kernel IR, LLVM IR and assembly of each kernel, compressed |
//! | `times` | the seam to `bench`: measured and predicted time of each call, rates of the machine |
//! | `data` | all of it as one JSON value |
//! | `assets/` | the page itself: HTML, CSS and JavaScript by hand; pictures are drawn by it from the data |
//!
//! The page trusts no name: its script makes text nodes of them, and the data block cannot end early.

mod data;
mod history;
mod texts;
mod times;

pub use data::{Facts, Subject, data};
pub use history::{Change, Event, History, Line, Recorder, Snapshot};
pub use texts::{Texts, packed, texts};
pub use times::{CallTime, Machine, Origin, Timing, timing};

use serde_json::Value;

const PAGE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
/// In the order in which one script holds them.
const SCRIPTS: [&str; 8] = [
    include_str!("assets/core.js"),
    include_str!("assets/list.js"),
    include_str!("assets/timeline.js"),
    include_str!("assets/roofline.js"),
    include_str!("assets/graph.js"),
    include_str!("assets/tables.js"),
    include_str!("assets/detail.js"),
    include_str!("assets/main.js"),
];

/// The whole file. `data` comes from [`data()`](data).
pub fn html(title: &str, data: &Value) -> String {
    let mut out = String::new();
    let mut rest = PAGE;
    // What is put in is not looked at again, so that no name can be a placeholder.
    while let Some((before, after)) = rest.split_once("{{") {
        out += before;
        let (name, after) = after.split_once("}}").expect("invariant: placeholders of the template are closed");
        match name {
            "title" => out += &escaped(title),
            "style" => out += STYLE,
            "data" => out += &block(data),
            "script" => SCRIPTS.iter().for_each(|s| out += s),
            _ => unreachable!("invariant: the template has no other placeholder"),
        }
        rest = after;
    }
    out + rest
}

/// JSON that stands inside a `<script>` element: without `<`, no string can close it or begin a comment.
fn block(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        let hostile = "</script><img src=x onerror=alert(1)><!-- {{data}}";
        let page = html(hostile, &serde_json::json!({ "name": hostile }));
        assert!(!page.contains("<img"), "a tag came through");
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").expect("a data block");
        let (block, _) = rest.split_once("</script>").expect("the block has an end");
        let value: Value = serde_json::from_str(block).expect("the block parses");
        assert_eq!(value["name"], hostile);
    }
}
