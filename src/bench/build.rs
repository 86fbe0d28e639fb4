//! From a graph to an executable that can bench itself, and the program behind it.

use crate::artefact::{Objects, Source};
use crate::counts;
use crate::output::Folder;
use crate::render::Failure;
use crate::toolchain::{BackendName, JitEvaluator};
use backends::cranelift::Jit;
use backends::link::{Linker, Stage};
use ir::store::TensorStore;
use ir::target::Target;
use ir::{Graph, Program};
use passes::pipeline::{Compiled, Options, PassOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is measured, before it is compiled.
pub struct Subject {
    pub graph: Graph,
    pub store: Arc<dyn TensorStore>,
}

/// How it is compiled.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    pub target: Target,
    pub backend: BackendName,
    pub batch: u64,
    pub passes: PassOptions<'a>,
}

/// A compiled subject.
pub struct Built {
    pub exe: PathBuf,
    pub program: Program,
    /// The target that the templates were chosen for.
    pub target: Target,
}

/// Compiles `subject` to an executable at `exe`.
///
/// Errors: those of the passes, the back end and the linker.
pub fn build(subject: &Subject, settings: &Settings, exe: &Path) -> Result<Built, Failure> {
    let graph = &subject.graph;
    let backend = settings.backend.get()?;
    let target = settings.backend.legal(settings.target);
    let evaluator = JitEvaluator(Jit::new()?);
    let options = Options { passes: settings.passes, ..Options::new(target, settings.batch) };
    let Compiled { program, store: constants, .. } =
        passes::pipeline::compile(graph.clone(), subject.store.clone(), &options, &evaluator)?;
    let totals = counts::totals(graph, &counts::layers(graph, settings.batch));
    // The times do not depend on how a picture becomes the input.
    let info = ir::graph::ModelInfo::default();
    let source = Source {
        name: &graph.name,
        program: &program,
        constants: &*constants,
        tensors: &*subject.store,
        info: &info,
        batch: settings.batch,
        macs: totals.macs / settings.batch.max(1),
        params: totals.params,
        target: &settings.target,
    };
    let objects = Objects::new(&source, &*backend, None)?;
    let stage = Stage::new(objects.inputs(true), Folder::beside(exe)?, exe)?;
    drop(objects);
    drop(constants);
    stage.executable(Linker::Wild)?;
    Ok(Built { exe: exe.to_path_buf(), program, target })
}
