//! What the program prints: answers about pictures, facts about the model.

use super::descriptor::{label, text};
use super::engine::Library;
use super::topk::Answer;
use super::{Error, json};
use crate::abi::Model;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// `file: 281 tabby 0.930`, then the other answers below, in columns.
pub fn answers_to_text(model: &Model, file: &str, answers: &[Answer]) -> String {
    let names: Vec<&str> = answers.iter().map(|a| label(model, a.class).unwrap_or("")).collect();
    let name_width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let class_width = answers.iter().map(|a| a.class.to_string().len()).max().unwrap_or(0);
    let indent = file.chars().count() + 1;
    let mut out = String::new();
    for (i, (answer, name)) in answers.iter().zip(&names).enumerate() {
        let _ = match i {
            0 => write!(out, "{file}:"),
            _ => write!(out, "{:indent$}", ""),
        };
        let _ = write!(out, " {:>class_width$}", answer.class);
        if name_width > 0 {
            let _ = write!(out, " {name:name_width$}");
        }
        let _ = writeln!(out, " {:.3}", answer.probability);
    }
    out
}

/// One element of `results`.
pub fn answers_to_json(model: &Model, file: &str, answers: &[Answer]) -> String {
    let classes = answers.iter().map(|a| {
        let object = json::Object::new().raw("class", a.class);
        let object = match label(model, a.class) {
            Some(name) => object.string("name", name),
            None => object,
        };
        object.raw("probability", json::number(a.probability)).end()
    });
    json::Object::new().string("file", file).raw("classes", json::array(classes)).end()
}

/// One element of `results` for a file that failed.
pub fn error_to_json(file: &str, error: &Error) -> String {
    let object = json::Object::new().string("file", file).string("error", &error.what);
    match error.at {
        Some(byte) => object.raw("byte", byte).end(),
        None => object.end(),
    }
}

/// What `--info` says; JSON has both kinds.
enum Fact {
    Text(String),
    Number(u64),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Fact::Text(text) => f.write_str(text),
            Fact::Number(number) => write!(f, "{number}"),
        }
    }
}

/// Name and value of each fact that `--info` prints.
fn facts(library: &dyn Library, threads: u32) -> Vec<(&'static str, Fact)> {
    let m = library.model();
    let hash: String = m.weights_sha256.iter().map(|b| format!("{b:02x}")).collect();
    let preprocess = match m.preprocess.known {
        0 => "unknown".to_string(),
        _ => {
            let p = &m.preprocess;
            let resize = if p.resize == 0 { "none".to_string() } else { p.resize.to_string() };
            let mean = match p.mean_tensor.is_null() {
                true => format!("{},{},{}", p.mean[0], p.mean[1], p.mean[2]),
                false => "per pixel".to_string(),
            };
            format!(
                "resize={resize} crop={}x{} order={} scale={} mean={mean} std={},{},{}",
                m.height,
                m.width,
                if p.bgr != 0 { "bgr" } else { "rgb" },
                p.scale,
                p.std[0],
                p.std[1],
                p.std[2]
            )
        }
    };
    alloc::vec![
        ("name", Fact::Text(text(m.name).to_string())),
        ("compiler", Fact::Text(format!("rescc {}", text(m.version)))),
        ("target", Fact::Text(text(m.code.target).to_string())),
        ("input", Fact::Text(format!("f32[{},{},{},{}]", m.batch, m.channels, m.height, m.width))),
        ("output", Fact::Text(format!("f32[{},{}]", m.batch, m.classes))),
        ("labels", Fact::Text(if label(m, 0).is_some() { "yes" } else { "no" }.to_string())),
        ("preprocess", Fact::Text(preprocess)),
        ("parameters", Fact::Number(m.params)),
        ("multiply-adds", Fact::Number(m.macs)),
        ("kernel calls", Fact::Number(m.code.n_calls.into())),
        ("weights bytes", Fact::Number(m.weights_bytes)),
        ("weights sha256", Fact::Text(hash)),
        ("arena bytes", Fact::Number(library.arena_bytes(m.batch, threads) as u64)),
        ("threads", Fact::Number(threads.into())),
    ]
}

/// `--info` for people.
pub fn info_to_text(library: &dyn Library, threads: u32) -> String {
    let facts = facts(library, threads);
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// `--info --json`: numbers as numbers, names with underscores.
pub fn info_to_json(library: &dyn Library, threads: u32) -> String {
    let mut object = json::Object::new().string("schema", "rescc.info/1");
    for (name, fact) in facts(library, threads) {
        let name = name.replace([' ', '-'], "_");
        object = match fact {
            Fact::Text(value) => object.string(&name, &value),
            Fact::Number(value) => object.raw(&name, value),
        };
    }
    object.end()
}
