//! Files that appear whole or not at all, and folders that go away.
//!
//! An [`Output`] is written to a temporary file beside its destination and renamed by [`Output::commit`]; dropped
//! before that, or interrupted, it leaves nothing and the old file stays. Standard output, pipes and devices are written
//! directly; a link stays one, and what it leads to is replaced.

use crate::render::Failure;
use ir::Diagnostic;
use ir::diag::Class;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use tempfile::{NamedTempFile, TempDir};

/// Temporary files and folders that exist now; removed when a signal ends the process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Permission bits before the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Data = 0o666,
    Executable = 0o777,
}

const STDOUT: &str = "/dev/stdout";

/// Fails at once if no file can be begun at `path`: asked before long work whose result goes there.
pub fn probe(path: &Path) -> Result<(), Failure> {
    if is_stream(path) { Ok(()) } else { Output::create(path, Mode::Data).map(drop) }
}

/// Whether what is written to `path` goes away at once: to standard output, a pipe or a device.
pub fn is_stream(path: &Path) -> bool {
    is_stdout(path) || fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Whether `path` is standard output, by its names: what it was redirected to may be a regular file.
pub fn is_stdout(path: &Path) -> bool {
    ["-", STDOUT, "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

/// Most links that are followed, as by the system.
const MOST_LINKS: usize = 40;

/// Where a file that is written to `path` comes to lie: behind links, also those that lead to nothing yet.
pub fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(to) if !is_stream(&path) => path = parent(&path).join(to),
            _ => break,
        }
    }
    path
}

/// Whether both lead to the same existing file.
pub fn is_same(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// `path` with one more suffix, whatever dots it has.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

/// Refuses `path` as an output that would be written over `what`.
pub fn replaces(path: &Path, what: &str) -> Failure {
    let d = Diagnostic::error("E0819", format!("'{}' would be written over {what}", path.display()));
    d.class(Class::Usage).help("choose another name with -o").into()
}

/// A file that is being written.
pub struct Output {
    path: PathBuf,
    sink: Sink,
    written: u64,
}

enum Sink {
    Beside(BufWriter<NamedTempFile>),
    Direct(BufWriter<File>),
}

impl Output {
    /// Begins the file at `path`. `-` is standard output.
    pub fn create(path: &Path, mode: Mode) -> Result<Output, Failure> {
        let path = if is_stdout(path) { PathBuf::from(STDOUT) } else { resolved(path) };
        let open = || -> io::Result<Sink> {
            if is_stdout(&path) {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                return Ok(Sink::Direct(BufWriter::new(File::from(stdout))));
            }
            match fs::metadata(&path) {
                Ok(m) if m.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory")),
                Ok(m) if !m.is_file() => {
                    return Ok(Sink::Direct(BufWriter::new(File::options().write(true).open(&path)?)));
                }
                _ => {}
            }
            let mut builder = tempfile::Builder::new();
            builder.prefix(".rescc-").permissions(Permissions::from_mode(mode as u32));
            let temp = begin(|| builder.tempfile_in(parent(&path)), NamedTempFile::path)?;
            Ok(Sink::Beside(BufWriter::with_capacity(1 << 18, temp)))
        };
        let sink = open().map_err(|e| failure(&path, 0, &e))?;
        Ok(Output { path, sink, written: 0 })
    }

    /// Puts the file in its place.
    pub fn commit(mut self) -> Result<(), Failure> {
        self.settle()?;
        self.place()
    }

    /// Puts both files in their places: neither of them if the disk has no room for both.
    pub fn commit_both(mut a: Output, mut b: Output) -> Result<(), Failure> {
        a.settle()?;
        b.settle()?;
        a.place()?;
        b.place()
    }

    /// All that was written is on the disk.
    fn settle(&mut self) -> Result<(), Failure> {
        let mut settle = || -> io::Result<()> {
            self.flush()?;
            if let Sink::Beside(w) = &self.sink { w.get_ref().as_file().sync_all() } else { Ok(()) }
        };
        settle().map_err(|e| failure(&self.path, self.written, &e))
    }

    fn place(&mut self) -> Result<(), Failure> {
        let Sink::Beside(w) = &mut self.sink else { return Ok(()) };
        fs::rename(w.get_ref().path(), &self.path).map_err(|e| failure(&self.path, self.written, &e))?;
        w.get_mut().disable_cleanup(true);
        // A rename is durable once its directory is; not every file system can do that.
        let _ = File::open(parent(&self.path)).and_then(|d| d.sync_all());
        Ok(())
    }

    /// A [`Failure`] for an error met while writing to this output.
    pub fn failure(&self, e: &io::Error) -> Failure {
        failure(&self.path, self.written, e)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = match &mut self.sink {
            Sink::Beside(w) => w.write(bytes),
            Sink::Direct(w) => w.write(bytes),
        }?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Beside(w) => w.flush(),
            Sink::Direct(w) => w.flush(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Sink::Beside(w) = &self.sink {
            // Listed until it is gone, as a signal may come in between.
            let mut list = unfinished();
            let _ = fs::remove_file(w.get_ref().path());
            list.retain(|p| p != w.get_ref().path());
        }
    }
}

/// A folder that goes away with all that is in it, when it is dropped or a signal ends the process.
pub struct Folder(TempDir);

impl Folder {
    /// Where what becomes the file at `path` is made.
    ///
    /// Errors: E0803.
    pub fn beside(path: &Path) -> Result<Folder, Failure> {
        let made = begin(|| tempfile::Builder::new().prefix(".rescc-").tempdir_in(parent(path)), TempDir::path);
        made.map(Folder).map_err(|e| failure(path, 0, &e))
    }

    /// Where nothing that is made stays.
    ///
    /// Errors: E0803.
    pub fn temporary() -> Result<Folder, Failure> {
        let made = begin(|| tempfile::Builder::new().prefix("rescc-").tempdir(), TempDir::path);
        made.map(Folder).map_err(|e| {
            let text = format!("cannot make a temporary folder: {}", reason(&e));
            Diagnostic::error("E0803", text).class(Class::Output).help("set TMPDIR to a folder with room").into()
        })
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path());
        unfinished().retain(|p| p != self.0.path());
    }
}

/// Writes a whole file, atomically.
pub fn write(path: &Path, mode: Mode, bytes: &[u8]) -> Result<(), Failure> {
    let mut out = Output::create(path, mode)?;
    out.write_all(bytes).map_err(|e| out.failure(&e))?;
    out.commit()
}

/// Writes to standard output; a reader that has gone away ends the process in silence, as for other filters.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if e.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(141);
        }
        unprintable(&e);
    }
}

/// Writes a line about work that goes on to standard output. A reader that has gone away is to training what a signal is:
/// it finishes, with a checkpoint, and ends as other filters do.
pub fn tell(text: &str) {
    let mut out = io::stdout().lock();
    let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    let is_closed = result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
    drop(out);
    if !is_closed {
        return result.map_or_else(|e| unprintable(&e), |()| ());
    }
    if NOTES_FIRST.swap(false, Ordering::Relaxed) {
        NOTED.store(signal_hook::consts::SIGPIPE, Ordering::Relaxed);
    } else if signal().is_none() {
        std::process::exit(141);
    }
}

fn unprintable(e: &io::Error) {
    say(&format!("error[E0803]: cannot write to standard output: {}\n", reason(e)));
    std::process::exit(5);
}

/// Writes to standard error, if anybody listens.
pub fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether the first signal is only noted; see [`finish_on_signal`].
static NOTES_FIRST: AtomicBool = AtomicBool::new(false);
/// The signal that was noted, or 0.
static NOTED: AtomicI32 = AtomicI32::new(0);

/// From now on the first SIGINT or SIGTERM ends nothing: whoever works asks [`signal`], and finishes. A second one ends
/// the process at once.
pub fn finish_on_signal() {
    NOTES_FIRST.store(true, Ordering::Relaxed);
}

/// The signal that asked this process to finish, if one did.
pub fn signal() -> Option<i32> {
    Some(NOTED.load(Ordering::Relaxed)).filter(|s| *s != 0)
}

/// Removes temporary files and folders on SIGINT and SIGTERM, then exits with 130 or 143.
pub fn remove_unfinished_on_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    // Without handlers the default action ends the process and a temporary file may stay: worse, not wrong.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if NOTES_FIRST.swap(false, Ordering::Relaxed) {
                NOTED.store(signal, Ordering::Relaxed);
                continue;
            }
            // The list stays locked, so that nothing is begun until the process has ended.
            let list = unfinished();
            list.iter().for_each(|path| remove(path));
            std::process::exit(128 + signal);
        }
    });
}

/// Removes a file or folder, into which another thread may still be writing.
fn remove(path: &Path) {
    const MOST_TRIES: usize = 100;
    if !path.is_dir() {
        let _ = fs::remove_file(path);
        return;
    }
    for _ in 0..MOST_TRIES {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            break;
        }
    }
}

/// Makes a temporary file or folder and lists it, with no moment between at which a signal would find it unlisted.
fn begin<T>(make: impl FnOnce() -> io::Result<T>, path: impl FnOnce(&T) -> &Path) -> io::Result<T> {
    let mut list = unfinished();
    let made = make()?;
    list.push(path(&made).to_path_buf());
    Ok(made)
}

fn unfinished() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A [`Failure`] for an error met after `written` bytes of the file at `path`.
pub fn failure(path: &Path, written: u64, e: &io::Error) -> Failure {
    if e.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(141);
    }
    let d =
        Diagnostic::error("E0803", format!("cannot write '{}': {}", path.display(), reason(e))).class(Class::Output);
    let d = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            d.note(format!("{written} bytes were written")).help("free space or choose another place with -o")
        }
        io::ErrorKind::NotFound if parent(path).is_dir() => {
            d.help(format!("the system makes no files in '{}': choose another place with -o", parent(path).display()))
        }
        io::ErrorKind::NotFound => d.help(format!("the directory '{}' does not exist", parent(path).display())),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            d.help(format!("choose a place with -o that may be written, or change '{}'", parent(path).display()))
        }
        _ => d.help("choose another place with -o"),
    };
    Failure::new(d).in_file(path)
}

/// The system's reason without its number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
