//! The program that a standalone executable is.

use super::args::{self, Action, Args, Path, lossy};
use super::engine::{Engine, Library};
use super::eval::{self, Set};
use super::failure::{self, Failure, INPUT_FAILED, display};
use super::image::{self, Image};
use super::npy::{self, Data};
use super::preprocess::Recipe;
use super::system::System;
use super::{Error, Kind, MAX_FILE_BYTES, bench, descriptor, json, report, topk};
use crate::abi::Model;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Runs the program `args[0]` on the rest; returns its exit code.
pub fn main(system: &dyn System, library: &dyn Library, args: &[&[u8]]) -> i32 {
    let program = args.first().map_or_else(|| "model".into(), |name| lossy(name));
    let result = args::parse(args.get(1..).unwrap_or(&[]))
        .map_err(Failure::from)
        .and_then(|args| App { system, library, args: &args }.run(&program));
    result.unwrap_or_else(|f| failure::conclude(system, &f))
}

const RESULT_IS_NEGATIVE: i32 = 1;

struct App<'a> {
    system: &'a dyn System,
    library: &'a dyn Library,
    args: &'a Args<'a>,
}

impl<'a> App<'a> {
    fn run(&self, program: &str) -> Result<i32, Failure> {
        match self.args.action {
            Action::Help => {
                let short = program.rsplit('/').next().unwrap_or(program);
                self.system.print(&args::help(short, descriptor::text(self.model().name)));
                Ok(0)
            }
            Action::Info => {
                let text = match self.args.json {
                    true => report::info_to_json(self.library, self.threads()) + "\n",
                    false => report::info_to_text(self.library, self.threads()),
                };
                self.system.print(&text);
                Ok(0)
            }
            Action::Classify => self.classify(),
            Action::Array(path) => self.array(path),
            Action::Eval(path) => self.eval(path),
            Action::Bench(sampling) => self.bench(sampling),
            Action::SelfTest => self.selftest(),
        }
    }

    fn model(&self) -> &'a Model {
        self.library.model()
    }

    fn threads(&self) -> u32 {
        self.args.threads.unwrap_or_else(|| self.system.cpus().clamp(1, crate::abi::MAX_WORKERS as u32))
    }

    fn engine(&self, threads: u32) -> Result<Engine<'a>, Error> {
        let pool = self.system.pool(threads - 1);
        Engine::new(self.library, self.args.batch.unwrap_or(self.model().batch), threads, pool)
    }

    /// Each picture on its own; a bad one does not stop the others.
    fn classify(&self) -> Result<i32, Failure> {
        let recipe = Recipe::of_model(self.model())?;
        let mut engine = self.engine(self.threads())?;
        let mut results = Vec::new();
        let mut logits: Vec<f32> = Vec::new();
        let mut failed = false;
        let mut x = alloc::vec![0.0; engine.batch() * engine.image_elements()];
        let mut y = alloc::vec![0.0; engine.batch() * engine.classes()];
        let (elements, classes) = (engine.image_elements(), engine.classes());
        for paths in self.args.files.chunks(engine.batch()) {
            // The error of each path, as JSON; pictures stand in the batch one after the other.
            let mut errors = Vec::with_capacity(paths.len());
            let mut loaded = 0;
            for &path in paths {
                errors.push(match self.picture(path, &recipe) {
                    Ok(image) => {
                        recipe.apply(&image, &mut x[loaded * elements..][..elements]);
                        loaded += 1;
                        None
                    }
                    Err(error) => {
                        failed = true;
                        let said = report::error_to_json(&display(path), &error);
                        self.system.complain(&Failure::about(path)(error).message());
                        Some(said)
                    }
                });
            }
            if loaded > 0 {
                x[loaded * elements..].fill(0.0);
                engine.run(&x, &mut y)?;
            }
            let mut rows = y.chunks_exact(classes);
            for (path, error) in paths.iter().zip(errors) {
                if let Some(said) = error {
                    results.push(said);
                    continue;
                }
                let y = rows.next().unwrap_or(&[]);
                let answers = topk::top(y, self.args.top);
                match self.args.json {
                    true => results.push(report::answers_to_json(self.model(), &display(path), &answers)),
                    false => self.system.print(&report::answers_to_text(self.model(), &display(path), &answers)),
                }
                if self.args.out.is_some() {
                    logits.extend_from_slice(y);
                }
            }
        }
        if self.args.json {
            self.print_results(results, !failed);
        }
        self.write_array(self.args.out, &[logits.len() / classes, classes], &logits)?;
        Ok(if failed { INPUT_FAILED } else { 0 })
    }

    fn picture(&self, path: Path, recipe: &Recipe) -> Result<Image, Error> {
        let image = image::decode(&self.system.read(path, MAX_FILE_BYTES)?)?;
        if recipe.resize.is_none() && (image.width, image.height) != (recipe.width, recipe.height) {
            self.system.complain(&format!(
                "note: {}: {}x{} pixels; the model takes {}x{} and does not resize, so the centre is used\n",
                display(path),
                image.width,
                image.height,
                recipe.width,
                recipe.height
            ));
        }
        Ok(image)
    }

    fn print_results(&self, results: Vec<String>, ok: bool) {
        let document = json::Object::new()
            .string("schema", "rescc.classify/1")
            .raw("ok", ok)
            .raw("results", json::array(results))
            .end();
        self.system.print(&(document + "\n"));
    }

    /// Inputs of an array: f32 as they are, u8 as pixels.
    fn array(&self, path: Path) -> Result<i32, Failure> {
        let about = Failure::about(path);
        let bytes = self.system.read(path, MAX_FILE_BYTES).map_err(&about)?;
        let array = npy::parse(&bytes).map_err(&about)?;
        let m = self.model();
        let (c, h, w) = (m.channels as usize, m.height as usize, m.width as usize);
        let expected = match array.data {
            Data::F32(_) => [c, h, w],
            Data::U8(_) => [h, w, 3],
        };
        if array.shape.len() != 4 || array.shape[1..] != expected {
            let what = format!(
                "the array is {:?}, the model takes float32 (N, {c}, {h}, {w}) or uint8 (N, {h}, {w}, 3)",
                array.shape
            );
            return Err(about(Error::new(Kind::Invalid, what)));
        }
        let recipe = match array.data {
            Data::U8(_) => Some(Recipe::of_model(m).map_err(&about)?),
            Data::F32(_) => None,
        };
        let mut engine = self.engine(self.threads())?;
        let classes = engine.classes();
        let elements = engine.image_elements();
        let mut results = Vec::new();
        let mut outputs: Vec<f32> = Vec::new();
        engine.run_all(
            array.shape[0],
            |i, x| {
                match (&array.data, &recipe) {
                    (Data::F32(all), _) => x.copy_from_slice(&all[i * elements..][..elements]),
                    (Data::U8(all), Some(recipe)) => {
                        let pixels = &all[i * elements..][..elements];
                        recipe.normalise(x, |channel, pixel| pixels[3 * pixel + channel]);
                    }
                    (Data::U8(_), None) => unreachable!("invariant: pixels come with a recipe"),
                }
                Ok(())
            },
            |i, y| {
                let name = format!("{}[{i}]", display(path));
                let answers = topk::top(y, self.args.top);
                if self.args.json {
                    results.push(report::answers_to_json(m, &name, &answers));
                } else if self.args.out.is_none() {
                    self.system.print(&report::answers_to_text(m, &name, &answers));
                }
                outputs.extend_from_slice(y);
            },
        )?;
        if self.args.json {
            self.print_results(results, true);
        }
        self.write_array(self.args.out, &[outputs.len() / classes, classes], &outputs)?;
        Ok(0)
    }

    fn eval(&self, path: Path) -> Result<i32, Failure> {
        let about = Failure::about(path);
        let recipe = Recipe::of_model(self.model())?;
        let bytes = self.system.read(path, MAX_FILE_BYTES).map_err(&about)?;
        let array;
        let set = match self.args.eval_labels {
            None if bytes.starts_with(b"\x93NUMPY") => {
                return Err(about(
                    Error::new(Kind::Usage, "an array has no labels").help("give them with --eval-labels"),
                ));
            }
            None => Set::cifar(&bytes, &recipe).map_err(&about)?,
            Some(labels) => {
                let about_labels = Failure::about(labels);
                let text = String::from_utf8(self.system.read(labels, MAX_FILE_BYTES).map_err(&about_labels)?)
                    .map_err(|_| about_labels(Error::new(Kind::Invalid, "the labels are not UTF-8 text")))?;
                array = npy::parse(&bytes).map_err(&about)?;
                Set::pixels(&array, &text, &recipe).map_err(&about)?
            }
        };
        let mut engine = self.engine(self.threads())?;
        let classes = engine.classes();
        let outcome = eval::evaluate(&mut engine, &set, &recipe, self.args.logits.is_some()).map_err(&about)?;
        let text = match self.args.json {
            true => json::Object::new()
                .string("schema", "rescc.eval/1")
                .raw("n", outcome.images)
                .raw("top1", outcome.top1)
                .raw("top5", outcome.top5)
                .raw("acc1", json::number(outcome.percent(outcome.top1)))
                .raw("acc5", json::number(outcome.percent(outcome.top5)))
                .end(),
            false => outcome.line(),
        };
        self.system.print(&(text + "\n"));
        let n = outcome.images;
        if classes <= 256 {
            let bytes: Vec<u8> = outcome.predictions.iter().map(|&p| p as u8).collect();
            self.write_array(self.args.predictions, &[n], &bytes)?;
        } else {
            self.write_array(self.args.predictions, &[n], &outcome.predictions)?;
        }
        self.write_array(self.args.logits, &[n, classes], &outcome.logits)?;
        Ok(0)
    }

    fn write_array<T: npy::Element>(&self, path: Option<Path>, shape: &[usize], data: &[T]) -> Result<(), Failure> {
        match path {
            Some(path) => self.system.write(path, &npy::write(shape, data)).map_err(Failure::about(path)),
            None => Ok(()),
        }
    }

    fn bench(&self, sampling: bench::Sampling) -> Result<i32, Failure> {
        let threads = self.threads();
        let mut engine = self.engine(threads)?;
        let times = bench::measure(&mut engine, sampling, &|| self.system.now_ns())?;
        let text = match self.args.json {
            true => bench::to_json(&engine, threads, &times) + "\n",
            false => bench::to_text(&engine, threads, &times),
        };
        self.system.print(&text);
        Ok(0)
    }

    /// The same bits for any number of threads and whatever the arena held before; all of them finite.
    fn selftest(&self) -> Result<i32, Failure> {
        const THREADS: [u32; 5] = [1, 2, 3, 4, 7];
        /// Bytes that arenas are filled with: zeros, quiet NaNs, signalling NaNs.
        const PREFILLS: [[u8; 4]; 3] = [[0; 4], [0xff; 4], [0x01, 0x00, 0xa0, 0x7f]];
        let mut reference: Option<Vec<f32>> = None;
        let mut failure = None;
        for threads in THREADS {
            let mut engine = self.engine(threads)?;
            let x = bench::synthetic_input(engine.batch() * engine.image_elements());
            for prefill in PREFILLS {
                for word in engine.arena().as_chunks_mut::<4>().0 {
                    *word = prefill;
                }
                let mut y = alloc::vec![f32::NAN; engine.batch() * engine.classes()];
                engine.run(&x, &mut y)?;
                let expected = reference.get_or_insert_with(|| y.clone());
                let differs = y.iter().zip(&*expected).position(|(a, b)| a.to_bits() != b.to_bits());
                let not_finite = y.iter().position(|v| !v.is_finite());
                let what = match (differs, not_finite) {
                    (Some(i), _) => format!("output {i} is {} instead of {}", y[i], expected[i]),
                    (None, Some(i)) => format!("output {i} is {}", y[i]),
                    (None, None) => continue,
                };
                failure.get_or_insert(format!("{what}, on {threads} threads with the arena filled by {prefill:02x?}"));
            }
        }
        let runs = THREADS.len() * PREFILLS.len();
        let outputs = reference.map_or(0, |y| y.len());
        let (code, text) = match failure {
            Some(what) => (RESULT_IS_NEGATIVE, format!("self-test failed: {what}\n")),
            None => (
                0,
                format!(
                    "self-test passed: {outputs} outputs, finite, the same bits in {runs} runs (threads 1, 2, 3, 4, 7; arena filled with 0, NaN, signalling NaN)\n"
                ),
            ),
        };
        match self.args.json {
            true => {
                let document = json::Object::new()
                    .string("schema", "rescc.selftest/1")
                    .raw("ok", code == 0)
                    .raw("runs", runs)
                    .raw("outputs", outputs)
                    .string("text", text.trim_end());
                self.system.print(&(document.end() + "\n"));
            }
            false => self.system.print(&text),
        }
        Ok(code)
    }
}
