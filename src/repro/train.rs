//! One network of an experiment, trained by the paper's recipe, or found trained.

use super::experiments::Scale;
use crate::builders::{self, Spec, init};
use crate::render::Failure;
use crate::store::{self, Model};
use crate::toolchain::BackendName;
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::data::cifar;
use crate::train::data::feed::Source;
use crate::train::data::{Augment, Pixels, Set};
use crate::train::group::Alone;
use crate::train::log::{self, Line};
use crate::train::run::{self, Job, Report};
use crate::train::settings::{Kind, Recipe, Settings};
use crate::train::step::Codes;
use crate::train::traces::Places;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics};
use passes::pipeline::PassOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What all networks of an experiment have in common.
pub struct Bench<'a> {
    /// Folder of CIFAR-10, binary version.
    pub cifar: &'a Path,
    pub out: &'a Path,
    pub scale: Scale,
    pub seed: u64,
    pub target: Target,
    pub backend: BackendName,
}

/// A network that is trained.
pub struct Trained {
    pub name: String,
    pub params: u64,
    pub iterations: u64,
    pub lines: Vec<Line>,
    /// The trained model.
    pub model: PathBuf,
}

impl Trained {
    /// The last training and test errors of its log.
    pub fn errors(&self) -> [Option<f64>; 2] {
        let last = |of: fn(&Line) -> Option<f64>| self.lines.iter().rev().find_map(of);
        [last(|l| l.window.map(|w| w.1)), last(|l| l.test_error)]
    }
}

/// How it went.
pub enum End {
    Trained(Trained),
    /// A signal came first; the next call goes on.
    Stopped(i32),
}

impl Bench<'_> {
    /// Trains the network called `name`, or goes on, or finds it trained. `begin` hears of the settings once it is
    /// known that there is something to do.
    ///
    /// Errors: E0908 and E0909 if the folder is of another network or a run on other data or with other settings; those
    /// of training.
    pub fn train(
        &self,
        name: &str,
        warnings: &mut Diagnostics,
        begin: &mut dyn FnMut(&Settings, u64),
        report: &mut dyn FnMut(&Report),
    ) -> Result<End, Failure> {
        let spec = self.scale.spec(name)?;
        let pictures = cifar::training(self.cifar, spec.input)?;
        let test = Set::Cifar(cifar::evaluation(self.cifar, spec.input)?);
        let dir = self.out.join(name);
        let _claim = checkpoint::claim(&dir)?;
        let model = self.initial(&dir, name, &spec)?;
        let pixels = Pixels::mean_picture(&pictures, pictures.labels.len());
        let set = Set::Cifar(pictures);
        let recipe = Recipe::find("he2015", Kind::Cifar).expect("invariant: the paper's recipe is there");
        let (batch, length) = self.scale.run();
        let settings =
            Settings { seed: self.seed, ..recipe.settings(set.len(), spec.depth.into(), Some(batch), Some(length)) };
        if settings.batch > set.len() {
            let text = format!("a batch of {batch} pictures is more than the {} that there are", set.len());
            return Err(Diagnostic::error("E0911", text).help("give all of CIFAR-10").into());
        }
        let from = begun(&dir, &model, &set, &settings, warnings)?;
        let log = dir.join("log.csv");
        let trained = dir.join("model.rir");
        let is_done = from.as_ref().is_some_and(|c| c.run.progress.iteration == settings.iterations);
        if !is_done || !trained.is_file() {
            begin(&settings, from.as_ref().map_or(0, |c| c.run.progress.iteration));
            let codes =
                Codes::new(&model.graph, &model.store, &settings, self.target, self.backend, PassOptions::default())?;
            let augment = Augment::new(&settings, pixels);
            let part = 0..settings.batch;
            let source = Arc::new(Source { set, augment, settings: settings.clone(), part });
            let job = Job {
                group: &Alone,
                model: &model,
                test: Some(&test),
                codes: &codes,
                out: &dir,
                traces: Places { log: &log, events: None, norms: None },
                every: source.steps(),
                keep: 2,
                skips: false,
                source,
            };
            let end = job.run(from.as_ref(), report)?;
            if let (None, Some(signal)) = (end.model, end.signal) {
                return Ok(End::Stopped(signal));
            }
        }
        let params = crate::counts::totals(&model.graph, &[]).params;
        let (name, iterations) = (name.to_string(), settings.iterations);
        Ok(End::Trained(Trained { name, params, iterations, lines: log::read(&log)?, model: trained }))
    }

    /// The network called `name` before it is trained. A file that is there is taken if it is that network.
    ///
    /// Errors: E0908 if it is another; E0803.
    fn initial(&self, dir: &Path, name: &str, spec: &Spec) -> Result<Model, Failure> {
        let path = dir.join(format!("initial-{}.rir", self.seed));
        let graph = builders::build(spec)?;
        let network = run::signature(&graph);
        if !path.is_file() {
            init::save(&path, graph, self.seed, &mut |_| ())?;
        }
        let model = store::load(&path)?;
        model.check_hash()?;
        if run::signature(&model.graph) != network {
            let d = Diagnostic::error("E0908", format!("'{}' is not {name} at this scale", path.display()));
            return Err(Failure::from(d.help("choose another --out for each scale")).in_file(&path));
        }
        Ok(model)
    }
}

/// The newest checkpoint of the run in `dir`, if it has begun.
fn begun(
    dir: &Path,
    model: &Model,
    set: &Set,
    s: &Settings,
    warnings: &mut Diagnostics,
) -> Result<Option<Checkpoint>, Failure> {
    if checkpoint::all(dir).is_empty() {
        return Ok(None);
    }
    let (found, problems) = checkpoint::newest(dir)?;
    warnings.0.extend(problems.0);
    run::check(&found, model, &set.fingerprint(), s)?;
    Ok(Some(found))
}
