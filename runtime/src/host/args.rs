//! The executable's command line.

use super::bench::Sampling;
use super::{Error, Kind};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A path as the system gives it: bytes, not necessarily UTF-8.
pub type Path<'a> = &'a [u8];

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// The pictures in `files`.
    Classify,
    /// Inputs of an array file.
    Array(Path<'a>),
    /// Accuracy on a labelled set.
    Eval(Path<'a>),
    Bench(Sampling),
    Info,
    SelfTest,
    Help,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Args<'a> {
    pub action: Action<'a>,
    pub files: Vec<Path<'a>>,
    pub top: usize,
    pub json: bool,
    pub threads: Option<u32>,
    pub batch: Option<u32>,
    pub out: Option<Path<'a>>,
    pub eval_labels: Option<Path<'a>>,
    pub predictions: Option<Path<'a>>,
    pub logits: Option<Path<'a>>,
}

/// The text of `--help`.
pub fn help(program: &str, model: &str) -> String {
    format!(
        "{model}, compiled by rescc\n\
         \n\
         {program} PICTURE…             classifies JPEG, PNG and PPM pictures; - is standard input\n\
         {program} --npy X.npy          … an array: float32 (N, C, H, W) as it is, uint8 (N, H, W, 3) as pixels\n\
         {program} --eval FILE          accuracy on a CIFAR-10 binary file, or on uint8 pixels with --eval-labels\n\
         {program} --bench [SECONDS]    latency of one inference\n\
         {program} --info               what this model is\n\
         {program} --selftest           same bits on any number of threads, whatever the arena held before\n\
         \n\
         --top K              answers a picture (5)\n\
         --json               one JSON document on standard output\n\
         --threads N          threads (the CPUs that this process may use)\n\
         --batch N            images an inference (the batch that the model was compiled for)\n\
         --out Y.npy          writes the outputs, float32 (N, classes)\n\
         --eval-labels FILE   table with a column 'class', or one class a line\n\
         --predictions P.npy  with --eval: writes the best class of each picture\n\
         --logits L.npy       with --eval: writes the outputs\n\
         --warmup N           with --bench: runs before measuring\n\
         --iterations N       with --bench: runs to measure, instead of a time\n\
         --cold               with --bench: weights are in no cache when a run begins\n\
         \n\
         Exit codes: 0 done, 1 self-test differs, 2 usage, 3 an input cannot be read, 4 unsupported, 5 an output\n\
         cannot be written, 6 a limit.\n"
    )
}

/// Parses what follows the program's name.
pub fn parse<'a>(args: &[&'a [u8]]) -> Result<Args<'a>, Error> {
    let mut parsed = Args {
        action: Action::Classify,
        files: Vec::new(),
        top: 5,
        json: false,
        threads: None,
        batch: None,
        out: None,
        eval_labels: None,
        predictions: None,
        logits: None,
    };
    let mut actions: Vec<(&str, Action)> = Vec::new();
    let (mut warmup, mut iterations, mut seconds, mut cold) = (None, None, 2.0, false);
    let mut rest = Rest::new(args);
    while let Some(arg) = rest.next() {
        if arg == b"--" {
            parsed.files.extend_from_slice(&args[rest.at..]);
            break;
        }
        if arg == b"-" || !arg.starts_with(b"-") {
            parsed.files.push(arg);
            continue;
        }
        let (name, inline) = match arg.iter().position(|&b| b == b'=') {
            Some(i) => (&arg[..i], Some(&arg[i + 1..])),
            None => (arg, None),
        };
        let mut takes_value = true;
        match name {
            b"--npy" => actions.push(("--npy", Action::Array(rest.value(name, inline)?))),
            b"--eval" => actions.push(("--eval", Action::Eval(rest.value(name, inline)?))),
            b"--bench" => {
                if let Some(value) = inline.or_else(|| rest.next_if_number()) {
                    seconds = number(name, value, |s: f64| (0.0..=86_400.0).contains(&s))?;
                }
                actions.push(("--bench", Action::Bench(Sampling { seconds, warmup, iterations, cold })));
            }
            b"--top" => parsed.top = number(name, rest.value(name, inline)?, |n| n >= 1)?,
            b"--threads" => parsed.threads = Some(number(name, rest.value(name, inline)?, |n| (1..=64).contains(&n))?),
            b"--batch" => parsed.batch = Some(number(name, rest.value(name, inline)?, |n| n >= 1)?),
            b"--warmup" => warmup = Some(number(name, rest.value(name, inline)?, |_| true)?),
            b"--iterations" => iterations = Some(number(name, rest.value(name, inline)?, |n| n >= 1)?),
            b"--out" => parsed.out = Some(rest.value(name, inline)?),
            b"--eval-labels" => parsed.eval_labels = Some(rest.value(name, inline)?),
            b"--predictions" => parsed.predictions = Some(rest.value(name, inline)?),
            b"--logits" => parsed.logits = Some(rest.value(name, inline)?),
            _ => {
                takes_value = false;
                match name {
                    b"--json" => parsed.json = true,
                    b"--cold" => cold = true,
                    b"--info" => actions.push(("--info", Action::Info)),
                    b"--selftest" => actions.push(("--selftest", Action::SelfTest)),
                    b"--help" | b"-h" => actions.push(("--help", Action::Help)),
                    _ => return Err(unknown(name, &NAMES)),
                }
            }
        }
        if !takes_value && inline.is_some() {
            return Err(usage(format!("{} takes no value", lossy(name))));
        }
    }
    if let Some(&(_, action)) = actions.iter().find(|(name, _)| *name == "--help") {
        parsed.action = action;
        return Ok(parsed);
    }
    match actions[..] {
        [] if parsed.files.is_empty() => {
            return Err(usage("no picture given").help("--help lists what this program can do"));
        }
        [] => {}
        [(name, _)] if !parsed.files.is_empty() => {
            return Err(usage(format!("{name} takes no pictures, but '{}' is given", lossy(parsed.files[0]))));
        }
        [(_, Action::Bench(sampling))] => {
            parsed.action = Action::Bench(Sampling { warmup, iterations, cold, ..sampling })
        }
        [(_, action)] => parsed.action = action,
        [(first, _), (second, _), ..] => return Err(usage(format!("{first} and {second} do not go together"))),
    }
    let is_eval = matches!(parsed.action, Action::Eval(_));
    let is_bench = matches!(parsed.action, Action::Bench(_));
    let needs = [
        ("--eval-labels", parsed.eval_labels.is_some(), is_eval, "--eval"),
        ("--predictions", parsed.predictions.is_some(), is_eval, "--eval"),
        ("--logits", parsed.logits.is_some(), is_eval, "--eval"),
        ("--warmup", warmup.is_some(), is_bench, "--bench"),
        ("--iterations", iterations.is_some(), is_bench, "--bench"),
        ("--cold", cold, is_bench, "--bench"),
        (
            "--out",
            parsed.out.is_some(),
            matches!(parsed.action, Action::Classify | Action::Array(_)),
            "pictures or --npy",
        ),
    ];
    if let Some((name, _, _, with)) = needs.iter().find(|(_, given, ok, _)| *given && !ok) {
        return Err(usage(format!("{name} goes with {with}")));
    }
    // An array alone may go where answers are printed.
    let prints = parsed.json || !matches!(parsed.action, Action::Array(_));
    let outputs = [("--out", parsed.out), ("--predictions", parsed.predictions), ("--logits", parsed.logits)];
    let is_stdout = |path: Option<&[u8]>| path.is_some_and(|p| p == b"-" || p == b"/dev/stdout");
    match outputs.into_iter().find(|(_, path)| prints && is_stdout(*path)) {
        Some((name, _)) => Err(usage(format!("{name}: standard output has what is printed")).help("name a file")),
        None => Ok(parsed),
    }
}

/// Arguments that are left.
pub(super) struct Rest<'s, 'a> {
    args: &'s [&'a [u8]],
    at: usize,
}

impl<'s, 'a> Rest<'s, 'a> {
    pub fn new(args: &'s [&'a [u8]]) -> Rest<'s, 'a> {
        Rest { args, at: 0 }
    }

    pub fn next(&mut self) -> Option<&'a [u8]> {
        let arg = *self.args.get(self.at)?;
        self.at += 1;
        Some(arg)
    }

    /// The value of an option: after `=` or the next argument.
    pub fn value(&mut self, name: &[u8], inline: Option<&'a [u8]>) -> Result<&'a [u8], Error> {
        inline.or_else(|| self.next()).ok_or_else(|| usage(format!("{} needs a value", lossy(name))))
    }

    fn next_if_number(&mut self) -> Option<&'a [u8]> {
        let arg = *self.args.get(self.at)?;
        parse_text::<f64>(arg)?;
        self.next()
    }
}

fn parse_text<T: core::str::FromStr>(value: &[u8]) -> Option<T> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

pub(super) fn number<T: core::str::FromStr + Copy>(
    name: &[u8],
    value: &[u8],
    fits: impl Fn(T) -> bool,
) -> Result<T, Error> {
    parse_text(value).filter(|&n| fits(n)).ok_or_else(|| usage(format!("{} cannot be '{}'", lossy(name), lossy(value))))
}

pub(super) fn usage(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

const NAMES: [&str; 17] = [
    "--npy",
    "--eval",
    "--bench",
    "--info",
    "--selftest",
    "--help",
    "--top",
    "--json",
    "--threads",
    "--batch",
    "--out",
    "--eval-labels",
    "--predictions",
    "--logits",
    "--warmup",
    "--iterations",
    "--cold",
];

/// Names the known option that is nearest.
pub(super) fn unknown(name: &[u8], names: &[&'static str]) -> Error {
    let nearest = names.iter().map(|n| (distance(name, n.as_bytes()), *n)).min();
    let error = usage(format!("unknown option '{}'", lossy(name)));
    match nearest {
        Some((d, n)) if d <= 2 => error.help(format!("did you mean {n}?")),
        _ => error.help("--help lists them"),
    }
}

/// Edit distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// For messages.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_string()
}
