//! Runs the `rescc` command in a directory of its own and looks at what it said, wrote and left behind.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// The command with these arguments, without a terminal.
pub fn command(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_rescc"));
    c.args(args).env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
    c
}

/// Runs `rescc` with these arguments.
pub fn rescc(args: &[&str]) -> Outcome {
    outcome(command(args))
}

/// The same with `dir` as current directory.
pub fn rescc_in(dir: &Scratch, args: &[&str]) -> Outcome {
    let mut c = command(args);
    c.current_dir(dir.0.path());
    outcome(c)
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

/// Where the trained networks and pictures are: `RESCC_DATA`, or `../shared/data` beside the checkout.
pub fn shared_data() -> Option<PathBuf> {
    let dir = match std::env::var_os("RESCC_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => crate::root().join("../shared/data"),
    };
    dir.join("resnet20-12fca82f.th").is_file().then_some(dir)
}
