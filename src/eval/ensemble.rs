//! Networks that look at the same pictures: each alone, and together by the mean of their probabilities.

use super::batches::Batches;
use super::size::at_size;
use super::tally::Tally;
use super::views::{Crops, Views, at_scale};
use crate::code::Code;
use crate::render::Failure;
use crate::store::Model;
use crate::toolchain::BackendName;
use crate::train::data::{Pixels, Set};
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Place};
use passes::pipeline::Options;
use rayon::prelude::*;
use runtime::host::topk;
use std::collections::HashMap;

/// Pictures that a program is compiled for; it takes as many of them at a time as the caches hold.
const BATCH: u64 = 64;
/// Memory for inputs that wait for the networks.
const WAITING_BYTES: usize = 64 << 20;
/// Most pictures that are decoded before the networks look at them.
const MOST_WAITING: usize = 256;

/// How networks look at pictures.
#[derive(Clone, Debug)]
pub struct Look {
    pub crops: Crops,
    /// Lengths of the shorter side; none for the model's own preprocessing.
    pub scales: Vec<usize>,
    pub target: Target,
    pub backend: BackendName,
}

/// A network, compiled for each size of input at which it looks.
pub struct Member {
    codes: Vec<(Code, Views)>,
    /// The network's class for each of the data.
    classes: Vec<u32>,
    outputs: usize,
}

impl Member {
    /// Errors: E0812 (no preprocessing), E0905 (classes), E0906 (the network sees no such pictures), E0912 (sizes);
    /// those of the passes and the back end.
    pub fn new(model: &Model, pixels: &Pixels, set: &Set, look: &Look) -> Result<Member, Failure> {
        let g = &model.graph;
        let outputs = g.outputs.first().and_then(|&y| g.ty(y).dims(1).last().copied()).unwrap_or(0);
        let classes = classes(&set.classes(), &g.info.labels, outputs)?;
        let compile = |g, views| -> Result<(Code, Views), Failure> {
            Ok((
                Code::new(g, model.store.clone(), look.backend, &Options::new(look.backend.legal(look.target), BATCH))?,
                views,
            ))
        };
        let own = |scales| Views { scales, crops: look.crops };
        let codes = match look.crops {
            _ if look.scales.is_empty() => vec![compile(g.clone(), own(vec![pixels.clone()]))?],
            Crops::Ten => {
                let resized = |&s: &usize| Pixels { resize: Some(s), ..pixels.clone() };
                vec![compile(g.clone(), own(look.scales.iter().map(resized).collect()))?]
            }
            Crops::Centre => {
                let scaled = |&s: &usize| compile(at_size(g, [s as u64; 2])?, own(vec![at_scale(pixels, s)]));
                look.scales.iter().map(scaled).collect::<Result<_, Failure>>()?
            }
        };
        Ok(Member { codes, classes, outputs: outputs as usize })
    }
}

/// The network's class for each class of the data: by name if the network knows all the names, else by number.
///
/// Errors: E0905.
pub fn classes(data: &[String], network: &[String], outputs: u64) -> Result<Vec<u32>, Diagnostic> {
    let numbers: HashMap<&str, u32> = network.iter().enumerate().rev().map(|(i, n)| (n.as_str(), i as u32)).collect();
    let named: Option<Vec<u32>> = data.iter().map(|n| numbers.get(n.as_str()).copied()).collect();
    match named {
        Some(found) if network.len() as u64 <= outputs => Ok(found),
        _ if data.len() as u64 == outputs => Ok((0..data.len() as u32).collect()),
        _ => {
            let unknown = data.iter().find(|n| !numbers.contains_key(n.as_str()));
            let text = format!("the data has {} classes, the network {outputs}", data.len());
            let d = Diagnostic::error("E0905", text);
            let d = match unknown.filter(|_| !network.is_empty()) {
                Some(name) => d.note(format!("the network has no class '{name}'")),
                None => d,
            };
            Err(d.help("fewer classes than the network's go by their names: give folders the names of its labels"))
        }
    }
}

/// What came out.
#[derive(Default)]
pub struct Outcome {
    /// Of each network.
    pub alone: Vec<Tally>,
    /// Of all together.
    pub together: Tally,
    /// Numbers of the pictures that could be read.
    pub readable: Vec<u64>,
    /// An error for each of the others.
    pub unreadable: Diagnostics,
}

/// A picture and, for each code of each network, the inputs that it becomes and their weights.
struct Prepared {
    label: u32,
    inputs: Vec<(Vec<f32>, Vec<f64>)>,
}

/// Shows every picture of `set` to every network. `advance` hears how many pictures are done.
///
/// Errors: E0905 if the networks number their classes differently; the pictures' own if none of them can be read.
pub fn evaluate(members: &[Member], set: &Set, advance: &dyn Fn(u64)) -> Result<Outcome, Failure> {
    let differs = |m: &&Member| (m.outputs, &m.classes) != (members[0].outputs, &members[0].classes);
    if members.iter().any(|m| differs(&m)) {
        let d = Diagnostic::error("E0905", "the networks number their classes differently");
        return Err(d.help("evaluate them one by one").into());
    }
    let codes = || members.iter().flat_map(|m| &m.codes);
    let mut running = codes().map(|(code, _)| Batches::new(code)).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = codes().map(|(_, views)| views.most_elements() * size_of::<f32>()).sum();
    // A power of two is a whole number of groups.
    let waiting = 1 << (WAITING_BYTES / bytes.max(1)).clamp(1, MOST_WAITING).ilog2();

    let mut outcome = Outcome { alone: vec![Tally::default(); members.len()], ..Outcome::default() };
    for first in (0..set.len()).step_by(waiting) {
        let here = first..set.len().min(first + waiting as u64);
        let prepare = |i| -> Result<Prepared, Failure> {
            let picture = set.picture(i)?;
            Ok(Prepared { label: set.label(i), inputs: codes().map(|(_, views)| views.of(&picture)).collect() })
        };
        let prepared: Vec<_> = here.clone().into_par_iter().map(prepare).collect();
        outcome.readable.extend(here.clone().zip(&prepared).filter(|(_, p)| p.is_ok()).map(|(i, _)| i));
        let (pictures, failures): (Vec<_>, Vec<_>) = prepared.into_iter().partition(Result::is_ok);
        let pictures: Vec<Prepared> = pictures.into_iter().flatten().collect();
        outcome.unreadable.0.extend(failures.into_iter().filter_map(Result::err).flat_map(|f| named(f).0));

        let mut code = 0;
        let mut all = vec![vec![0.0; members[0].outputs]; pictures.len()];
        for (m, tally) in members.iter().zip(&mut outcome.alone) {
            let mut scores = vec![vec![0.0; m.outputs]; pictures.len()];
            for _ in &m.codes {
                look(&mut running[code], &pictures, code, &mut scores)?;
                code += 1;
            }
            for ((p, scores), all) in pictures.iter().zip(&scores).zip(&mut all) {
                tally.add(m.classes[p.label as usize], scores);
                all.iter_mut().zip(scores).for_each(|(a, s)| *a += s);
            }
        }
        let classes = &members[0].classes;
        pictures.iter().zip(&all).for_each(|(p, all)| outcome.together.add(classes[p.label as usize], all));
        advance(here.end - here.start);
    }
    match outcome.unreadable.0.is_empty() || outcome.together.n > 0 {
        true => Ok(outcome),
        false => Err(outcome.unreadable.into()),
    }
}

/// Adds the probabilities that the network of `code` gives for each picture, the mean over its views, to `scores`.
fn look(batches: &mut Batches, pictures: &[Prepared], code: usize, scores: &mut [Vec<f64>]) -> Result<(), Failure> {
    let views_of = |p: usize| (0..pictures[p].inputs[code].1.len()).map(move |view| (p, view));
    let views: Vec<(usize, usize)> = (0..pictures.len()).flat_map(views_of).collect();
    let fill = |i: u64, x: &mut [f32]| {
        let (p, view) = views[i as usize];
        x.copy_from_slice(&pictures[p].inputs[code].0[view * x.len()..][..x.len()]);
        Ok(())
    };
    batches.each(views.len() as u64, &fill, &mut |i, logits| {
        let (p, view) = views[i as usize];
        let weight = pictures[p].inputs[code].1[view];
        for a in topk::top(logits, logits.len()) {
            scores[p][a.class] += weight * a.probability;
        }
    })
}

/// What is wrong with a picture among many: every message says which.
fn named(f: Failure) -> Diagnostics {
    let file = f.sources.main.map_or(String::new(), |(path, _)| format!("{}: ", path.display()));
    let one = |mut d: Diagnostic| {
        for l in std::mem::take(&mut d.labels) {
            if let Place::Byte(at) = l.place {
                d = d.note(format!("at byte {at}"));
            }
        }
        d.message = format!("{file}{}", d.message);
        d
    };
    Diagnostics(f.diagnostics.0.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn classes_go_by_name_or_by_number() {
        let network = names("cat dog bird cat");
        assert_eq!(classes(&names("bird cat"), &network, 4).unwrap(), [2, 0]);
        assert_eq!(classes(&names("n01 n02 n03 n04"), &network, 4).unwrap(), [0, 1, 2, 3]);
        assert_eq!(classes(&names("n01 n02"), &[], 2).unwrap(), [0, 1]);
        let e = classes(&names("bird cow"), &network, 4).unwrap_err();
        assert_eq!((e.code, e.notes.join(" ")), ("E0905", "the network has no class 'cow'".to_string()));
        assert_eq!(classes(&names("a b c"), &[], 2).unwrap_err().code, "E0905");
    }
}
