//! Runs the `rescc` command, and programs that it made, and looks at what they said, wrote and left behind. Nobody's
//! measured rates are read, or replaced: the user's cache folder is out of reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory that goes away with the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Path of a file in it.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.0.path().join(name), bytes).expect("a file in a temporary directory");
        self.path(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Names of all files in it, sorted, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the temporary directory");
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Where caches are kept, and where a cache folder can be neither read nor made.
const CACHE: &str = "XDG_CACHE_HOME";
const NO_CACHE: &str = "/dev/null/cache";

/// The command with these arguments, without a terminal.
pub fn command(args: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_rescc")), args)
}

fn program(path: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(path);
    c.args(args).env_remove("CLICOLOR_FORCE").env(CACHE, NO_CACHE).stdin(Stdio::null());
    c
}

/// Runs `rescc` with these arguments.
pub fn rescc(args: &[&str]) -> Outcome {
    outcome(command(args))
}

/// The same with `dir` as current directory, and with a cache folder in it.
pub fn rescc_in(dir: &Scratch, args: &[&str]) -> Outcome {
    let mut c = command(args);
    c.current_dir(dir.0.path()).env(CACHE, dir.path("cache"));
    outcome(c)
}

/// Runs a program that must succeed; returns standard output.
#[track_caller]
pub fn run(path: &Path, args: &[&str]) -> String {
    let out = output(path, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{} {}: {}\n{text}{errors}", path.display(), args.join(" "), out.status);
    text
}

/// What a program did.
#[track_caller]
pub fn output(path: &Path, args: &[&str]) -> Output {
    program(path, args).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn outcome(mut command: Command) -> Outcome {
    let out = command.output().expect("the command starts");
    Outcome {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

impl Outcome {
    /// Asserts exit code 0; returns standard output.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Asserts a refusal: exit code, nothing on standard output, no panic, and a message that has a code, what happened
    /// and where (every string of `parts`, in order), and what to do.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) {
        let text = &self.stderr;
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!text.contains("panicked"), "{text}");
        assert!(self.stdout.is_empty(), "{}", self.stdout);
        let mut rest = text.as_str();
        for part in parts.iter().chain(&["help: "]) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => panic!("'{part}' is not (in this order) in:\n{text}"),
            }
        }
    }
}

/// Where test data may lie: `$RESCC_DATA`, `target/data` (see `tools/get-data.sh`), the material beside the checkout.
fn data_folders() -> impl Iterator<Item = PathBuf> {
    let chosen = std::env::var_os("RESCC_DATA").map(PathBuf::from);
    chosen.into_iter().chain(["target/data", "../shared/data"].map(|p| crate::root().join(p)))
}

/// A file of the test data.
pub fn data(name: &str) -> Option<PathBuf> {
    data_folders().map(|p| p.join(name)).find(|p| p.exists())
}

/// The folder of the trained networks, as they were published.
pub fn shared_data() -> Option<PathBuf> {
    data_folders().find(|p| ["resnet20-12fca82f.th", "plainnet20.pth"].iter().all(|f| p.join(f).is_file()))
}

/// Elements of a `.npy` file as f64, whatever their type.
#[track_caller]
pub fn npy(path: &Path) -> Vec<f64> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).expect("a .npy file");
    match file.dtype().descr().trim_matches('\'') {
        "|u1" => file.into_vec::<u8>().expect("u8").into_iter().map(f64::from).collect(),
        "<u2" => file.into_vec::<u16>().expect("u16").into_iter().map(f64::from).collect(),
        "<f4" => file.into_vec::<f32>().expect("f32").into_iter().map(f64::from).collect(),
        "<f8" => file.into_vec::<f64>().expect("f64"),
        other => panic!("{}: elements of type {other}", path.display()),
    }
}
