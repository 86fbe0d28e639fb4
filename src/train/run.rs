//! The loop: batches in, steps, checkpoints, a model out.

use super::checkpoint::{self, Checkpoint, Progress, Run};
use super::data::feed::Source;
use super::data::{self, Feed, Pixels, Set};
use super::group::{self, Group};
use super::log::Line;
use super::random::Epoch;
use super::schedule::WINDOW;
use super::settings::{Colour, Crop, Settings};
use super::step::{self, Codes, Step};
use super::traces::{Places, Traces};
use crate::output;
use crate::render::Failure;
use crate::store::{self, Model};
use ir::diag::Class;
use ir::graph::Def;
use ir::store::{MemoryStore, TensorStore};
use ir::{Diagnostic, Diagnostics, Graph};
use passes::autodiff::state_of;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the tensor with the mean picture in a trained model.
const MEAN_PICTURE: &str = "preprocess.mean";

/// A run before it begins.
pub struct Job<'a> {
    /// Who trains. All of them compute the same state; the first writes it.
    pub group: &'a dyn Group,
    pub model: &'a Model,
    pub source: Arc<Source>,
    /// Pictures to evaluate on after each epoch.
    pub test: Option<&'a Set>,
    pub codes: &'a Codes,
    /// Where checkpoints and model go.
    pub out: &'a Path,
    pub traces: Places<'a>,
    /// Steps between two checkpoints.
    pub every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// A batch whose loss is not finite is left out, instead of ending the run.
    pub skips: bool,
}

/// What is said while it runs.
pub struct Report<'a> {
    pub settings: &'a Settings,
    pub progress: Progress,
    pub line: Line,
    /// Steps of this process, and the time they took, without evaluations.
    pub steps: u64,
    pub elapsed: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub struct End {
    pub progress: Progress,
    pub checkpoint: PathBuf,
    /// The trained model, unless a signal came first.
    pub model: Option<PathBuf>,
    pub signal: Option<i32>,
    pub test_error: Option<f64>,
    /// Batches of this process that were left out.
    pub skipped: u64,
    /// As [`Report`] counts them.
    pub steps: u64,
    pub elapsed: Duration,
    /// How long the steps have waited for data.
    pub waited: Duration,
}

/// SHA-256 of a network's text: its layers and the names and shapes of its tensors.
pub fn signature(g: &Graph) -> String {
    store::hex(&Sha256::digest(ir::text::print_graph(g)))
}

/// What tells the network of a run from another: its [`signature`], and the elements of what is frozen, which no
/// checkpoint has.
///
/// Errors: E0407 if the network has no such tensors.
pub fn identity(g: &Graph, tensors: &dyn TensorStore, s: &Settings) -> Result<String, Diagnostics> {
    if s.frozen.is_empty() {
        return Ok(signature(g));
    }
    let state = state_of(g, &step::options(s))?;
    let mut hash = Sha256::new();
    hash.update(ir::text::print_graph(g));
    for &p in &g.params {
        let Def::Param { tensor, .. } = &g.values[p].def else { continue };
        if let Some(data) = tensors.get(tensor).filter(|_| state.iter().all(|t| t.name != *tensor)) {
            hash.update(&*data.bytes);
        }
    }
    Ok(store::hex(&hash.finalize()))
}

/// Refuses a checkpoint of another network, other data or other settings.
///
/// Errors: E0908, E0909.
pub fn check(c: &Checkpoint, model: &Model, data: &str, settings: &Settings) -> Result<(), Failure> {
    let at = |d: Diagnostic| Failure::from(d).in_file(&c.path);
    let begun = &c.run.settings;
    // Without the tensors that the run has frozen it is another network too.
    if c.run.network != identity(&model.graph, &*model.store, begun).unwrap_or_default() {
        let mut d = Diagnostic::error("E0908", format!("'{}' is a checkpoint of another network", c.path.display()));
        if !begun.frozen.is_empty() {
            d = d.note(format!("the run leaves tensors as they are in its model: {}", begun.frozen.join(", ")));
        }
        return Err(at(d.help("give the model that the run was begun with")));
    }
    // Under another --limit the data differ, and that is what to say.
    if c.run.data != data && begun.limit == settings.limit {
        let text = format!("'{}' is a checkpoint of a run on other data", c.path.display());
        return Err(at(Diagnostic::error("E0908", text).help("give the --data that the run was begun with")));
    }
    let differences = begun.differences(settings);
    if differences.is_empty() {
        return Ok(());
    }
    let mut d = Diagnostic::error("E0909", "the run was begun with other settings");
    for text in differences {
        d = d.note(format!("{text} now"));
    }
    Err(at(d.help("leave out what differs, or begin another run from the trained model")))
}

impl Job<'_> {
    /// Runs to the end, or until a signal.
    ///
    /// Errors: E0803 (nothing of the checkpoints so far is lost), E0910 for a loss that is not finite, E0917, those of the
    /// data. A failure is that of one rank; the others have an empty one.
    pub fn run(&self, from: Option<&Checkpoint>, report: &mut dyn FnMut(&Report)) -> Result<End, Failure> {
        let s = &self.source.settings;
        let mut progress = from.map(|c| c.run.progress).unwrap_or_default();
        let (mut step, mut traces, mut feed) = group::agree(self.group, self.begin(from, progress.iteration))?;
        let (begun, first) = (Instant::now(), progress.iteration);
        let network = identity(&self.model.graph, &*self.model.store, s)?;
        let data = self.source.set.fingerprint();
        let run = |progress: Progress| Run::new(network.clone(), data.clone(), s.clone(), progress);
        self.compare(&run(progress), &step)?;
        let save = |step: &Step, progress: Progress| match group::leads(self.group) {
            true => checkpoint::write(self.out, &run(progress), &step.state(), self.keep),
            false => Ok(checkpoint::place(self.out, progress.iteration)),
        };
        // What ends a run for other reasons than its state loses no step of it.
        let rescue = |step: &Step, progress: Progress| {
            if step.is_finite() {
                _ = save(step, progress);
            }
        };
        let (mut saved, mut skipped) = (from.map(|c| c.path.clone()), 0);
        let mut test_error = None;
        let mut evaluating = Duration::ZERO;
        let mut signal = group::signal(self.group, output::signal());
        while progress.iteration < s.iterations && signal.is_none() {
            let lr = progress.rate(s);
            let batch = group::agree(self.group, feed.take()).inspect_err(|_| rescue(&step, progress))?;
            let outcome = step.run(self.group, &batch.x, &batch.labels, lr as f32);
            feed.give_back(batch);
            let mut norms = None;
            if outcome.loss.is_finite() {
                let done = progress.iteration + 1;
                if self.traces.norms.is_some() && (done == 1 || done.is_multiple_of(WINDOW) || done == s.iterations) {
                    norms = Some(step.gradient_norms(s));
                }
                step.accept()?;
                progress.count(s, outcome);
            } else if self.skips {
                skipped += 1;
            } else {
                return group::agree(self.group, Err(self.not_finite(outcome.loss, &progress, &step, &save)));
            }
            progress.iteration += 1;
            let epoch = progress.iteration as f64 / self.source.steps() as f64;
            let mut line = Line { iteration: progress.iteration, epoch, lr, ..Line::default() };
            if progress.iteration.is_multiple_of(WINDOW) || progress.iteration == s.iterations {
                line.window = progress.close_window(s);
            }
            let ends_epoch = progress.iteration.is_multiple_of(self.source.steps());
            if (ends_epoch || progress.iteration == s.iterations)
                && let Some(test) = self.test
            {
                let begun = Instant::now();
                let evaluated = self.evaluate(&mut step, test);
                test_error = Some(evaluated.inspect_err(|_| {
                    _ = traces.as_mut().map(|t| t.write(&line, norms.as_deref()));
                    rescue(&step, progress);
                })?);
                evaluating += begun.elapsed();
                line.test_error = test_error;
            }
            let mut keep = || -> Result<(), Failure> {
                let written = traces.as_mut().map(|t| t.write(&line, norms.as_deref())).transpose();
                written.inspect_err(|_| rescue(&step, progress))?;
                if progress.iteration.is_multiple_of(self.every) && progress.iteration < s.iterations {
                    if !step.is_finite() {
                        return Err(self.not_finite(f32::NAN, &progress, &step, &save));
                    }
                    saved = Some(save(&step, progress)?);
                }
                Ok(())
            };
            group::agree(self.group, keep())?;
            let steps = progress.iteration - first;
            report(&Report { settings: s, progress, line, steps, elapsed: begun.elapsed() - evaluating });
            signal = group::signal(self.group, output::signal());
        }
        let elapsed = begun.elapsed() - evaluating;
        let finish = || -> Result<(PathBuf, Option<PathBuf>), Failure> {
            if !step.is_finite() {
                return Err(self.not_finite(f32::NAN, &progress, &step, &save));
            }
            let checkpoint = match saved {
                Some(path) if progress.iteration == first => path,
                _ => save(&step, progress)?,
            };
            let is_written = progress.iteration == s.iterations && group::leads(self.group);
            Ok((checkpoint, if is_written { Some(self.save_model(&step)?) } else { None }))
        };
        let (checkpoint, model) = group::agree(self.group, finish())?;
        let steps = progress.iteration - first;
        Ok(End { progress, checkpoint, model, signal, test_error, skipped, steps, elapsed, waited: feed.waited })
    }

    /// The state to begin with, what the first rank writes, and the batches.
    fn begin(&self, from: Option<&Checkpoint>, iteration: u64) -> Result<(Step<'_>, Option<Traces>, Feed), Failure> {
        let store = &self.model.store;
        let mut tensor = |name: &str, shape: &[u64]| match from {
            Some(c) => c.tensor(name, shape).map(<[u8]>::to_vec),
            None => store.get(name).filter(|t| t.shape == shape).map(|t| t.bytes.into_owned()),
        };
        let step = Step::new(self.codes, &mut tensor)?;
        let writes = group::leads(self.group);
        let traces = writes.then(|| self.traces.open(iteration, &step.weights())).transpose()?;
        Ok((step, traces, Feed::start(self.source.clone(), iteration)?))
    }

    /// Refuses ranks that would not compute the same.
    ///
    /// Errors: E0917.
    fn compare(&self, run: &Run, step: &Step) -> Result<(), Failure> {
        if self.group.size() == 1 {
            return Ok(());
        }
        let mut hash = Sha256::new();
        hash.update(serde_json::to_string(run).unwrap_or_default());
        hash.update([env!("CARGO_PKG_VERSION"), self.codes.step.target().name].join(" "));
        step.state().iter().for_each(|(_, _, bytes)| hash.update(bytes));
        group::same(self.group, &hash.finalize())
    }

    /// The old state is whole: it is saved, if it is finite itself.
    fn not_finite(
        &self,
        loss: f32,
        progress: &Progress,
        step: &Step,
        save: &dyn Fn(&Step, Progress) -> Result<PathBuf, Failure>,
    ) -> Failure {
        let text = format!("the loss of iteration {} is {loss}", progress.iteration + 1);
        let d = Diagnostic::error("E0910", text).class(Class::Negative);
        let kept =
            if step.is_finite() { save(step, *progress).ok() } else { checkpoint::all(self.out).into_iter().next() };
        let d = match kept {
            Some(path) => d.note(format!("the last good state is in '{}'", path.display())),
            None => d.note("no state was good enough to be kept"),
        };
        Failure::from(d.help("lower --lr, add a --warmup, or leave such batches out by --on-nan skip"))
    }

    /// Share of wrong answers on `test`, of which each rank looks at a part.
    fn evaluate(&self, step: &mut Step, test: &Set) -> Result<f64, Failure> {
        let mut plain = self.source.augment.clone();
        (plain.crop, plain.flip, plain.colour) = (Crop::None, false, Colour::None);
        let epoch = Epoch { seed: 0, epoch: 0 };
        let fill = |i: u64, x: &mut [f32]| plain.fill(test, i, epoch, x);
        let own = step.evaluate(group::part(self.group, test.len()), &|i| test.label(i), &fill);
        let wrong = group::total(self.group, group::agree(self.group, own)?);
        Ok(wrong as f64 / test.len().max(1) as f64)
    }

    /// Writes the network with the state as its weights, and with the preprocessing that it was trained with.
    fn save_model(&self, step: &Step) -> Result<PathBuf, Failure> {
        let mut graph = self.model.graph.clone();
        let pixels: &Pixels = &self.source.augment.pixels;
        graph.info.preprocess = Some(data::pixels::preprocess(pixels, MEAN_PICTURE));
        if graph.info.labels.is_empty() {
            graph.info.labels = self.source.set.classes();
        }
        let mut tensors = MemoryStore::over(self.model.store.clone());
        for (name, shape, bytes) in step.state() {
            let data = ir::store::TensorData { dtype: ir::DType::F32, shape, bytes: Cow::Owned(bytes.to_vec()) };
            tensors.insert(name, data);
        }
        let mut list: Vec<(String, Vec<u64>)> = Vec::new();
        for &p in &graph.params {
            let Def::Param { tensor, .. } = &graph.values[p].def else { continue };
            if list.iter().all(|(n, _)| n != tensor) {
                list.push((tensor.clone(), graph.ty(p).physical_dims(1)));
            }
        }
        if let Some(mean) = &pixels.mean_picture {
            let shape = vec![3, pixels.height as u64, pixels.width as u64];
            tensors.insert_f32(MEAN_PICTURE, &shape, mean);
            list.push((MEAN_PICTURE.to_string(), shape));
        }
        let path = self.out.join("model.rir");
        let names: Vec<String> = list.iter().map(|(n, _)| n.clone()).collect();
        let saved = store::save(&path, graph, &list, &mut |i, out| {
            let data = tensors.get(&names[i]).ok_or_else(|| std::io::Error::other(names[i].clone()))?;
            out.write_all(&data.bytes)
        })?;
        Ok(saved.rir)
    }
}
