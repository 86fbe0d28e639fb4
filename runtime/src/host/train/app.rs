//! The program that a standalone trainer is: `rescc train` on CIFAR-10 with what the user of an executable needs.
//!
//! The state after a step has the bits of `rescc train` under the same settings, because both share what decides them:
//! the modules beside this one, and the compiled step.

use super::args::{self, Args};
use super::checkpoint::{self, Run};
use super::pictures::Pictures;
use super::pixels::Pixels;
use super::preset::Preset;
use super::progress::Progress;
use super::random::Order;
use super::schedule::WINDOW;
use super::settings::{Crop, Mean, Settings};
use super::trainer::Trainer;
use crate::abi::MAX_WORKERS;
use crate::host::args::{Path, lossy};
use crate::host::failure::{self, Failure};
use crate::host::{Error, Kind, MAX_FILE_BYTES, cifar, system};
use crate::train::Train;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the program needs of the system, beside what any program here does.
pub trait System: system::System {
    /// Makes a folder if it is not there.
    fn make_folder(&self, path: Path) -> Result<(), Error>;
    /// Names of what is in a folder.
    fn list(&self, path: Path) -> Result<Vec<Vec<u8>>, Error>;
    /// Removes a file, if that is possible.
    fn remove(&self, path: Path);
    /// The signal that has asked this process to finish, if one did. After that the next one ends it.
    fn signal(&self) -> Option<i32>;
}

/// Checkpoints that are kept.
const KEEP: usize = 3;
/// More than any checkpoint has before its elements.
const MAX_HEADER_BYTES: u64 = 16 << 20;
const LOSS_IS_NOT_FINITE: i32 = 1;

/// Runs the program `args[0]` on the rest; returns its exit code. `preset` is that of the executable.
///
/// # Safety
/// As [`Trainer::new`].
pub unsafe fn main(system: &dyn System, train: &Train, preset: &str, args: &[&[u8]]) -> i32 {
    let result = args::parse(args.get(1..).unwrap_or(&[])).map_err(Failure::from).and_then(|parsed| {
        let preset: Preset = serde_json::from_str(preset)
            .map_err(|e| Error::new(Kind::Model, format!("what this program was made for is not valid: {e}")))?;
        if parsed.help {
            let program = args.first().map_or_else(|| "train".into(), |name| lossy(name));
            system.print(&args::help(program.rsplit('/').next().unwrap_or(&program), &preset));
            return Ok(0);
        }
        let threads = parsed.threads.unwrap_or_else(|| system.cpus().clamp(1, MAX_WORKERS as u32));
        // SAFETY: the caller's promise.
        let trainer = unsafe { Trainer::new(train, threads, system.pool(threads - 1)) }?;
        App { system, preset: &preset, args: &parsed }.run(trainer)
    });
    result.unwrap_or_else(|f| failure::conclude(system, &f))
}

struct App<'a> {
    system: &'a dyn System,
    preset: &'a Preset,
    args: &'a Args<'a>,
}

/// What is learnt from, and what the network is tested on.
struct Data {
    train: Pictures,
    test: Pictures,
    pixels: Pixels,
}

impl Data {
    /// Fills the batch of step `iteration`.
    fn fill(&self, s: &Settings, iteration: u64, order: &mut Order, x: &mut [f32], labels: &mut [i32]) {
        let (epoch, batch) = order.batch(s, self.train.labels.len() as u64, iteration);
        for ((&image, label), x) in batch.iter().zip(labels).zip(x.chunks_exact_mut(self.pixels.elements())) {
            *label = self.train.labels[image as usize].into();
            let [dx, dy] = if s.crop == Crop::Pad { epoch.shift(image.into(), self.train.side) } else { [0, 0] };
            let is_mirrored = s.flip && epoch.is_mirrored(image.into());
            self.pixels.moved(self.train.planes(image as usize), dx, dy, is_mirrored, x);
        }
    }

    /// `test error 9.33 %`
    fn test(&self, trainer: &mut Trainer) -> Result<String, Error> {
        let label = |i: usize| usize::from(self.test.labels[i]);
        let fill = |i: usize, x: &mut [f32]| self.pixels.moved(self.test.planes(i), 0, 0, false, x);
        let wrong = trainer.evaluate(self.test.labels.len(), &label, &fill)?;
        Ok(format!("test error {:.2} %", 100.0 * wrong as f64 / self.test.labels.len() as f64))
    }
}

impl App<'_> {
    fn run(&self, mut trainer: Trainer) -> Result<i32, Failure> {
        if !self.args.resume {
            self.claim()?;
        }
        let names: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
        let train = self.pictures(&trainer, &names)?;
        let test = self.pictures(&trainer, &["test_batch.bin".into()])?;
        let run = match self.args.resume {
            true => self.resume(&mut trainer, &train)?,
            false => {
                let settings = self.preset.settings(self.args.choice, train.labels.len() as u64);
                Run::new(self.preset.network.clone(), train.fingerprint(), settings, Progress::default())
            }
        };
        let (batch, images) = (run.settings.batch, train.labels.len() as u64);
        if batch > images {
            let what = format!("a batch of {batch} pictures is more than the {images} that there are");
            return Err(Error::new(Kind::Invalid, what).help("give all of CIFAR-10").into());
        }
        let pixels = match run.settings.mean {
            Mean::Pixel => Pixels::mean_picture(&train, train.labels.len()),
            _ => Pixels::channels(&train, train.labels.len()),
        };
        self.steps(trainer, run, &Data { train, test, pixels })
    }

    /// Trains to the end, or until a signal.
    fn steps(&self, mut trainer: Trainer, mut run: Run, data: &Data) -> Result<i32, Failure> {
        let s = run.settings.clone();
        let epoch = data.train.labels.len() as u64 / s.batch;
        self.system.complain(&format!("{} pictures, {} steps of {}\n", data.train.labels.len(), s.iterations, s.batch));
        let mut order = Order::default();
        let mut x = alloc::vec![0.0; trainer.batch() * trainer.image_elements()];
        let mut labels = alloc::vec![0; trainer.batch()];
        let (begun, first) = (self.system.now_ns(), run.progress.iteration);
        let mut test = String::new();
        let mut signal = self.system.signal();
        while run.progress.iteration < s.iterations && signal.is_none() {
            let p = &mut run.progress;
            data.fill(&s, p.iteration, &mut order, &mut x, &mut labels);
            let outcome = trainer.step(&x, &labels, p.rate(&s) as f32)?;
            if !outcome.loss.is_finite() {
                return self.give_up(&trainer, &run, outcome.loss);
            }
            p.count(&s, outcome);
            p.iteration += 1;
            let (done, is_last) = (p.iteration, p.iteration == s.iterations);
            if done.is_multiple_of(WINDOW) || is_last {
                let window = p.close_window(&s).unwrap_or_default();
                let seconds = (self.system.now_ns() - begun) as f64 / 1e9;
                self.system.complain(&line(&s, window, done, done - first, seconds));
            }
            if done.is_multiple_of(epoch) || is_last {
                test = data.test(&mut trainer)? + "\n";
                self.system.complain(&format!("epoch {:.2}: {test}", done as f64 / epoch as f64));
            }
            if done.is_multiple_of(epoch) && !is_last {
                if !trainer.is_finite() {
                    return self.give_up(&trainer, &run, f32::NAN);
                }
                self.save(&trainer, &run)?;
            }
            signal = self.system.signal();
        }
        if !trainer.is_finite() {
            return self.give_up(&trainer, &run, f32::NAN);
        }
        let path = self.save(&trainer, &run)?;
        let (path, done) = (lossy(&path), run.progress.iteration);
        match signal.filter(|_| done < s.iterations) {
            Some(signal) => {
                self.system.print(&format!("stopped after {done} of {} steps: {path}\n", s.iterations));
                Ok(128 + signal)
            }
            None => {
                self.system.print(&format!("{path}\n{test}"));
                Ok(0)
            }
        }
    }

    /// The pictures of some files of the data, as large as the network's input.
    fn pictures(&self, trainer: &Trainer, names: &[String]) -> Result<Pictures, Failure> {
        let side = (trainer.image_elements() / 3).isqrt() as u64;
        let mut pictures = Pictures::for_input([3, side, side])
            .ok_or_else(|| Error::new(Kind::Model, format!("the network takes pictures of {side}x{side}")))?;
        for name in names {
            let path = join(self.args.data, name);
            let about = Failure::about(&path);
            let bytes = self.system.read(&path, MAX_FILE_BYTES).map_err(&about)?;
            pictures.extend(&cifar::Cifar::parse(&bytes).map_err(&about)?);
        }
        Ok(pictures)
    }

    /// Makes the folder of a new run. One that holds a run takes no other.
    fn claim(&self) -> Result<(), Failure> {
        self.system.make_folder(self.args.out).map_err(Failure::about(self.args.out))?;
        if let Some(newest) = self.checkpoints()?.first() {
            let e =
                Error::new(Kind::Usage, "there is a run already").help("go on with --resume, or choose another --out");
            return Err(Failure::about(&join(self.args.out, newest))(e));
        }
        Ok(())
    }

    /// The run of the newest checkpoint, whose state `trainer` takes.
    fn resume(&self, trainer: &mut Trainer, set: &Pictures) -> Result<Run, Failure> {
        let about = Failure::about(self.args.out);
        let newest = self.checkpoints()?.into_iter().next();
        let name = newest.ok_or_else(|| about(Error::new(Kind::Read, "there is no checkpoint to go on from")))?;
        let path = join(self.args.out, &name);
        let about = Failure::about(&path);
        let refuse = |what: &str, help: &str| about(Error::new(Kind::Invalid, what).help(help));
        let tensors = trainer.tensors();
        let elements: usize = (0..tensors.len()).map(|i| trainer.elements(i).len()).sum();
        let mut bytes = self.system.read(&path, elements as u64 + MAX_HEADER_BYTES).map_err(&about)?;
        let run = checkpoint::run(&mut bytes)
            .map_err(|what| refuse(&format!("it is damaged: {what}"), "remove it, and an older one is taken"))?;
        if run.network != self.preset.network || !self.preset.allows(&run.settings) {
            return Err(refuse("its run is another's", "go on with the program, or the command, that has begun it"));
        }
        if run.data != set.fingerprint() {
            return Err(refuse("its run was on other data", "give the folder that the run was begun with"));
        }
        // It has to begin as it would if it were written now, and the elements have to follow.
        let (header, order) = checkpoint::blank_header(&run, &tensors);
        let mut rest = match bytes.strip_prefix(&header[..]) {
            Some(rest) if rest.len() == elements => rest,
            _ => return Err(refuse("its tensors are another network's", "go on with the program that has begun it")),
        };
        for i in order {
            let (from, behind) = rest.split_at(trainer.elements(i).len());
            trainer.elements_mut(i).copy_from_slice(from);
            rest = behind;
        }
        Ok(run)
    }

    /// Ends a run whose state would be no good: the old one is saved, if it is good itself.
    fn give_up(&self, trainer: &Trainer, run: &Run, loss: f32) -> Result<i32, Failure> {
        let mut text = format!("error: the loss of step {} is {loss}\n", run.progress.iteration + 1);
        if trainer.is_finite() {
            text += &format!("  note: the last good state is in {}\n", lossy(&self.save(trainer, run)?));
        }
        self.system.complain(&(text + "  help: lower --lr\n"));
        Ok(LOSS_IS_NOT_FINITE)
    }

    /// Writes a checkpoint and removes all but the newest.
    fn save(&self, trainer: &Trainer, run: &Run) -> Result<Vec<u8>, Failure> {
        let (mut bytes, order) = checkpoint::header(run, &trainer.tensors(), &|i| trainer.elements(i));
        order.into_iter().for_each(|i| bytes.extend_from_slice(trainer.elements(i)));
        let path = join(self.args.out, &checkpoint::name(run.progress.iteration));
        self.system.write(&path, &bytes).map_err(Failure::about(&path))?;
        self.checkpoints()?.iter().skip(KEEP).for_each(|old| self.system.remove(&join(self.args.out, old)));
        Ok(path)
    }

    /// Names of the run's checkpoints, the newest first.
    fn checkpoints(&self) -> Result<Vec<String>, Failure> {
        let names = self.system.list(self.args.out).map_err(Failure::about(self.args.out))?;
        let mut found: Vec<String> = names.into_iter().filter_map(|n| String::from_utf8(n).ok()).collect();
        found.retain(|n| checkpoint::is_name(n));
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }
}

/// What is said after a window: means over it, and over the `steps` that took `seconds`.
fn line(s: &Settings, (loss, error): (f64, f64), done: u64, steps: u64, seconds: f64) -> String {
    let rate = steps as f64 / seconds;
    format!(
        "step {done} of {}: loss {loss:.4}, error {:.2} %, {:.0} img/s, {:.0} s left\n",
        s.iterations,
        100.0 * error,
        rate * s.batch as f64,
        (s.iterations - done) as f64 / rate
    )
}

fn join(folder: Path, name: &str) -> Vec<u8> {
    [folder, b"/", name.as_bytes()].concat()
}
