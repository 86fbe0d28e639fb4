//! A run as one file, whose bytes are those of [`runtime::host::train::checkpoint`]. A file appears whole or not at all
//! (see [`output`]), and the newest few are kept.

use crate::import::{self, safetensors};
use crate::output::{self, Mode, Output};
use crate::render::Failure;
use ir::diag::Class;
use ir::{Diagnostic, Diagnostics, Severity};
use runtime::host::train::checkpoint;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use super::progress::Progress;
pub use runtime::host::train::checkpoint::Run;

/// Largest checkpoint that is read.
const MAX_BYTES: u64 = 64 << 30;

/// The file of a run that has done `iteration` steps.
pub fn place(dir: &Path, iteration: u64) -> PathBuf {
    dir.join(checkpoint::name(iteration))
}

/// One tensor of the state: name, shape, f32 elements.
pub type Tensor<'a> = (String, Vec<u64>, &'a [u8]);

/// Writes the checkpoint of `run` into `dir` and removes older ones, all but the newest `keep` up to it. Later ones are
/// there where a run has gone back: it will come to them again.
///
/// Errors: E0803 if it cannot be written; older ones are as they were.
pub fn write(dir: &Path, run: &Run, state: &[Tensor], keep: usize) -> Result<PathBuf, Failure> {
    let path = place(dir, run.progress.iteration);
    let tensors: Vec<(String, Vec<u64>)> = state.iter().map(|(n, s, _)| (n.clone(), s.clone())).collect();
    let (header, order) = checkpoint::header(run, &tensors, &|t| state[t].2);
    let mut out = Output::create(&path, Mode::Data)?;
    let mut put = || -> std::io::Result<()> {
        out.write_all(&header)?;
        order.iter().try_for_each(|&t| out.write_all(state[t].2))
    };
    put().map_err(|e| out.failure(&e))?;
    out.commit()?;
    for old in all(dir).into_iter().filter(|p| *p <= path).skip(keep.max(1)) {
        // One that stays is no harm.
        let _ = std::fs::remove_file(old);
    }
    Ok(path)
}

/// A checkpoint that was read and is whole.
pub struct Checkpoint {
    pub path: PathBuf,
    pub run: Run,
    bytes: Vec<u8>,
    entries: HashMap<String, (Vec<u64>, Range<usize>)>,
}

impl Checkpoint {
    /// Elements of a tensor, or `None` if there is none of that name and shape.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Option<&[u8]> {
        let (found, range) = self.entries.get(name)?;
        (found == shape).then(|| &self.bytes[range.clone()])
    }

    pub fn tensors(&self) -> usize {
        self.entries.len()
    }
}

/// Reads a checkpoint.
///
/// Errors: E0805 if it cannot be read, E0907 if a byte is not what it was.
pub fn read(path: &Path) -> Result<Checkpoint, Failure> {
    let mut bytes = import::read_file(path, MAX_BYTES)?;
    let run = checkpoint::run(&mut bytes).map_err(|what| damaged(path, what, &Diagnostics::default()))?;
    let parsed = safetensors::read_header(&bytes).map_err(|d| damaged(path, "its header is not valid", &d))?;
    let entries = parsed.into_iter().map(|e| (e.name, (e.shape, e.range))).collect();
    Ok(Checkpoint { path: path.to_path_buf(), run, bytes, entries })
}

/// The newest whole checkpoint of a folder, and warnings of newer ones.
///
/// Errors: E0907 if there is none.
pub fn newest(dir: &Path) -> Result<(Checkpoint, Diagnostics), Failure> {
    let mut problems = Diagnostics::default();
    for path in all(dir) {
        match read(&path) {
            Ok(c) => {
                for d in &mut problems.0 {
                    d.severity = Severity::Warning;
                    d.help = Some(format!("the run goes on from '{}'", c.path.display()));
                }
                return Ok((c, problems));
            }
            Err(f) => problems.0.extend(f.diagnostics.0),
        }
    }
    if problems.0.is_empty() {
        let text = format!("'{}' has no checkpoint", dir.display());
        let d = Diagnostic::error("E0907", text).help("give the folder of --out, or a file checkpoint-….safetensors");
        problems.push(d);
    }
    Err(Failure::from(problems).in_file(dir))
}

/// The checkpoints of a folder, the newest first.
pub fn all(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_one = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(checkpoint::is_name);
    let mut found: Vec<PathBuf> = entries.filter(is_one).collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn damaged(path: &Path, what: &str, more: &Diagnostics) -> Failure {
    let mut d = Diagnostic::error("E0907", format!("the checkpoint '{}' is damaged: {what}", path.display()));
    for m in more.0.iter().take(3) {
        d = d.note(m.message.clone());
    }
    let older = path.parent().map(all).unwrap_or_default().into_iter().find(|p| p.as_path() < path);
    let d = d.class(Class::Invalid).help(match older {
        Some(p) => format!("go on from the one before it: --resume {}", p.display()),
        None => "there is none before it: begin again, or restore the file".into(),
    });
    Failure::from(d).in_file(path)
}

/// Refuses a folder that holds a run already, unless that is the one that goes on from the checkpoint `resumed`.
///
/// Errors: E0909.
pub fn refuse_other_run(dir: &Path, resumed: Option<&Path>) -> Result<(), Failure> {
    let Some(newest) = all(dir).into_iter().next() else { return Ok(()) };
    let folder = resumed.and_then(Path::parent).map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    if folder.is_some_and(|f| output::is_same(f, dir)) {
        return Ok(());
    }
    let d = Diagnostic::error("E0909", format!("there is a run already: '{}'", newest.display())).class(Class::Usage);
    Err(d.help(format!("go on with --resume {}, or choose another --out", dir.display())).into())
}

/// Makes the folder of a run and keeps other processes from training in it until the result is dropped. Where the file
/// system knows no locks, nobody is kept from anything.
///
/// Errors: E0803, E0909.
pub fn claim(dir: &Path) -> Result<File, Failure> {
    folder(dir)?;
    let claim = File::open(dir).map_err(|e| output::failure(dir, 0, &e))?;
    match claim.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let text = format!("another process trains in '{}' now", dir.display());
            let d = Diagnostic::error("E0909", text).class(Class::Usage);
            Err(d.help("wait for it, or choose another --out").into())
        }
        _ => Ok(claim),
    }
}

/// Makes the folder of a run.
///
/// Errors: E0803.
pub fn folder(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|e| {
        let text = format!("cannot make the folder '{}': {}", dir.display(), output::reason(&e));
        Failure::from(Diagnostic::error("E0803", text).class(Class::Output).help("choose another --out")).in_file(dir)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::{Kind, Recipe};

    fn run(iteration: u64) -> Run {
        let settings = Recipe::find("fast", Kind::Cifar).unwrap().settings(100, 8, Some(10), None);
        let progress = Progress { iteration, loss_bits: 0.1f64.to_bits(), ..Progress::default() };
        Run::new("net".into(), "data".into(), settings, progress)
    }

    fn put(dir: &Path, iteration: u64) -> PathBuf {
        let (a, b) = ([1u8, 2, 3, 4, 5, 6, 7, 8], [9u8; 4]);
        let state: [Tensor; 2] = [("w".into(), vec![2], &a), ("b".into(), vec![1], &b)];
        write(dir, &run(iteration), &state, 2).unwrap()
    }

    #[test]
    fn what_is_written_comes_back_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for i in [5, 10, 15] {
            put(dir.path(), i);
        }
        assert_eq!(all(dir.path()).len(), 2);
        let (c, problems) = newest(dir.path()).unwrap();
        assert_eq!((c.run.clone(), problems.0.len()), (run(15), 0));
        assert_eq!(c.tensor("w", &[2]), Some(&[1u8, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!((c.tensor("w", &[1, 2]), c.tensor("x", &[1])), (None, None));
    }

    #[test]
    fn a_run_that_has_gone_back_keeps_what_it_writes() {
        let dir = tempfile::tempdir().unwrap();
        for i in [10, 15, 2, 4, 6] {
            assert!(put(dir.path(), i).exists(), "{i}");
        }
        let kept = [15, 10, 6, 4].map(|i| place(dir.path(), i));
        assert_eq!(all(dir.path()), kept);
    }

    #[test]
    fn a_folder_takes_one_run() {
        let [dir, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        assert!(refuse_other_run(dir.path(), None).is_ok());
        let (own, foreign) = (put(dir.path(), 5), put(other.path(), 5));
        assert!(refuse_other_run(dir.path(), Some(own.as_path())).is_ok());
        for resumed in [None, Some(foreign.as_path())] {
            let e = refuse_other_run(dir.path(), resumed).unwrap_err();
            assert_eq!((e.diagnostics.0[0].code, e.exit_code()), ("E0909", 2));
        }
    }

    #[test]
    fn more_steps_than_a_run_has_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let length = run(0).settings.iterations;
        assert!(read(&put(dir.path(), length)).is_ok());
        let e = read(&put(dir.path(), length + 1)).err().expect("a refusal");
        assert!(e.diagnostics.0[0].code == "E0907" && e.diagnostics.0[0].message.contains("is not valid"));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 5);
        let path = put(dir.path(), 10);
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1 << (i % 8);
            std::fs::write(&path, &bytes).unwrap();
            let e = read(&path).err().unwrap_or_else(|| panic!("byte {i}"));
            assert_eq!(e.diagnostics.0[0].code, "E0907");
            assert!(e.diagnostics.0[0].help.as_ref().unwrap().contains("checkpoint-0000000005"));
        }
        for n in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..n]).unwrap();
            assert!(read(&path).is_err(), "{n} bytes");
        }
        let (c, problems) = newest(dir.path()).unwrap();
        assert_eq!((c.run.progress.iteration, problems.0.len()), (5, 1));
    }
}
