//! Diagnostics for people (what, where, what to do) and for programs (JSON); exit codes.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use ir::diag::{Class, Label};
use ir::{Diagnostic, Diagnostics, Place, Severity};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Diagnostics shown before only their number is.
pub const CAP: usize = 20;
/// The same in JSON.
const JSON_CAP: usize = 100;
/// Label lines shown for one diagnostic.
const MOST_LABELS: usize = 8;

/// The files that places refer to.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that the diagnostics are about: path, and its text if it has one.
    pub main: Option<(PathBuf, Option<String>)>,
    /// The weights file, which `Byte` and `Tensor` places mean if it is not the main file.
    pub data: Option<PathBuf>,
}

/// Why a verb did not succeed: at least one error, and where to look.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    pub diagnostics: Diagnostics,
    pub sources: Sources,
}

impl Failure {
    pub fn new(d: impl Into<Diagnostics>) -> Failure {
        Failure { diagnostics: d.into(), sources: Sources::default() }
    }

    /// The same, about a file without text.
    pub fn in_file(mut self, path: &Path) -> Failure {
        self.sources.main.get_or_insert_with(|| (path.to_path_buf(), None));
        self
    }

    /// The same, about a file with text.
    pub fn in_text(mut self, path: &Path, text: &str) -> Failure {
        self.sources.main = Some((path.to_path_buf(), Some(text.to_string())));
        self
    }

    /// The same, about a model's weights file.
    pub fn with_data(mut self, path: &Path) -> Failure {
        self.sources.data = Some(path.to_path_buf());
        self
    }

    /// Exit code of the first error.
    pub fn exit_code(&self) -> u8 {
        self.diagnostics.0.iter().find(|d| d.severity == Severity::Error).map_or(70, |d| exit_code(d.class))
    }
}

impl From<Diagnostics> for Failure {
    fn from(d: Diagnostics) -> Failure {
        Failure::new(d)
    }
}

impl From<Diagnostic> for Failure {
    fn from(d: Diagnostic) -> Failure {
        Failure::new(d)
    }
}

pub fn exit_code(class: Class) -> u8 {
    match class {
        Class::Negative => 1,
        Class::Usage => 2,
        Class::Invalid => 3,
        Class::Unsupported => 4,
        Class::Output => 5,
        Class::Limit => 6,
        Class::Toolchain => 7,
        Class::Internal => 70,
    }
}

/// The text for people. Ends in a newline unless it is empty.
pub fn text(diagnostics: &Diagnostics, sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for d in diagnostics.0.iter().take(CAP) {
        out += &one(d, sources, &renderer);
        out += "\n\n";
    }
    out.truncate(out.trim_end().len());
    if diagnostics.0.len() > CAP {
        out += &format!("\n\n… and {} more", diagnostics.0.len() - CAP);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn one(d: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(d.message.as_str());
    let title = if d.code.is_empty() { title } else { title.id(d.code) };
    let mut group = Group::with_title(title);
    let located: Vec<Located> = d.labels.iter().take(MOST_LABELS).map(|l| locate(l, sources)).collect();
    let mut others: Vec<String> = Vec::new();
    let mut shown = false;
    for (i, l) in located.iter().enumerate() {
        let label = (!l.text.is_empty()).then_some(l.text);
        if let Some(line) = &l.line {
            let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let snippet = Snippet::source(line.text)
                .line_start(line.number)
                .path(l.path.clone())
                .annotation(kind.span(line.span.clone()).label(label));
            group = group.element(snippet);
            shown = true;
        } else if i == 0 {
            group = group.element(Origin::path(l.origin()));
            shown = true;
            others.extend(label.map(String::from));
        } else {
            others.push(match label {
                Some(t) => format!("{}: {t}", l.origin()),
                None => l.origin(),
            });
        }
    }
    if let (false, Some((path, _))) = (shown, &sources.main) {
        group = group.element(Origin::path(path.display().to_string()));
    }
    for note in others.iter().chain(&d.notes) {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &d.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let text = renderer.render(&[group]);
    if located.iter().any(|l| l.line.is_some()) {
        return text;
    }
    // Without a line of source the library leaves no margin before the arrow.
    match text.split_once('\n') {
        Some((title, rest)) => format!("{title}\n{}", rest.replacen("--> ", "  --> ", 1)),
        None => text,
    }
}

/// A label with its file and, where there is text, its line.
struct Located<'a> {
    path: String,
    line: Option<Line<'a>>,
    /// What is at fault inside the file, for files without text.
    thing: Option<String>,
    text: &'a str,
}

struct Line<'a> {
    number: usize,
    /// Characters before the place, plus 1.
    column: usize,
    text: &'a str,
    /// Bytes within `text`.
    span: Range<usize>,
}

impl Located<'_> {
    fn origin(&self) -> String {
        match (&self.thing, self.path.is_empty()) {
            (Some(t), true) => t.clone(),
            (Some(t), false) => format!("{}: {t}", self.path),
            (None, _) => self.path.clone(),
        }
    }
}

fn locate<'a>(l: &'a Label, sources: &'a Sources) -> Located<'a> {
    let (main, source) = match &sources.main {
        Some((p, t)) => (p.display().to_string(), t.as_deref()),
        None => (String::new(), None),
    };
    let data = sources.data.as_ref().map_or_else(|| main.clone(), |p| p.display().to_string());
    let thing = |path, thing: String| Located { path, line: None, thing: Some(thing), text: &l.text };
    match &l.place {
        Place::Text(range) => match source {
            Some(s) => Located { path: main, line: Some(line_at(s, range)), thing: None, text: &l.text },
            None => thing(main, format!("bytes {}..{}", range.start, range.end)),
        },
        Place::Node(name) => match source.and_then(|s| Some((s, definition(s, name)?))) {
            Some((s, range)) => Located { path: main, line: Some(line_at(s, &range)), thing: None, text: &l.text },
            None => thing(main, format!("%{name}")),
        },
        Place::Byte(b) => thing(data, format!("byte {b}")),
        Place::Tensor(t) => thing(data, format!("tensor '{t}'")),
    }
}

/// Where `%name` first stands in a text: its definition, as values are defined before they are read.
fn definition(source: &str, name: &str) -> Option<Range<usize>> {
    let wanted = format!("%{name}");
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '-';
    source.match_indices(&wanted).map(|(at, _)| at..at + wanted.len()).find(|r| {
        let rest = &source[r.end..];
        !rest.starts_with(part_of_name)
    })
}

fn line_at<'a>(source: &'a str, range: &Range<usize>) -> Line<'a> {
    let floor = |mut i: usize| {
        i = i.min(source.len());
        while !source.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = floor(range.start);
    let begin = source[..start].rfind('\n').map_or(0, |i| i + 1);
    let end = source[begin..].find('\n').map_or(source.len(), |i| begin + i);
    let stop = floor(range.end).clamp(start, end.max(start));
    Line {
        number: source[..begin].matches('\n').count() + 1,
        column: source[begin..start].chars().count() + 1,
        text: &source[begin..end.max(start)],
        span: start - begin..stop - begin,
    }
}

/// The diagnostics of a `--json` document.
pub fn json(diagnostics: &Diagnostics, sources: &Sources) -> Value {
    let one = |d: &Diagnostic| {
        let first = d.labels.first().map(|l| locate(l, sources));
        let file = first.as_ref().map(|l| l.path.clone()).or_else(|| {
            let (path, _) = sources.main.as_ref()?;
            Some(path.display().to_string())
        });
        let line = first.as_ref().and_then(|l| l.line.as_ref());
        let node = d.labels.iter().find_map(|l| match &l.place {
            Place::Node(n) => Some(format!("%{n}")),
            Place::Tensor(t) => Some(t.clone()),
            _ => None,
        });
        json!({
            "code": d.code,
            "severity": format!("{:?}", d.severity).to_lowercase(),
            "message": d.message,
            "file": file.filter(|f| !f.is_empty()),
            "line": line.map(|l| l.number),
            "column": line.map(|l| l.column),
            "node": node,
            "labels": d.labels.iter().filter(|l| !l.text.is_empty()).map(|l| &l.text).collect::<Vec<_>>(),
            "notes": d.notes,
            "help": d.help,
        })
    };
    let mut all: Vec<Value> = diagnostics.0.iter().take(JSON_CAP).map(one).collect();
    if let Some(more) = diagnostics.0.len().checked_sub(JSON_CAP).filter(|&n| n > 0) {
        all.push(json!({ "code": "", "severity": "note", "message": format!("and {more} more") }));
    }
    Value::Array(all)
}
