//! The executable as a program: exit codes, streams, files, the shape of the ELF file, the objects it is made of.

use super::{output, path, rescc, run};
use crate::{root, skip, test};
use backends::exec::runs_here;
use ir::target::X86_64_V4;
use libtest_mimic::Trial;
use object::read::archive::ArchiveFile;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, elf};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub fn tests() -> Vec<Trial> {
    vec![
        test("e2e::standalone::exit_codes", exit_codes),
        match runs_here(&X86_64_V4) {
            true => skip(OTHER_CPU, "this machine runs every target"),
            false => test(OTHER_CPU, other_cpu),
        },
        test("e2e::standalone::standard_streams", standard_streams),
        test("e2e::standalone::outputs_appear_whole_or_not", outputs),
        test("e2e::standalone::standard_output_that_is_a_file", standard_output),
        test("e2e::standalone::names_links_and_leftovers", names),
        test("e2e::standalone::memory_that_cannot_grow_is_a_limit", out_of_memory),
        test("e2e::standalone::eight_threads_on_one_processor", oversubscribed),
        test("e2e::standalone::a_hardened_elf_file_without_libraries", elf_file),
        test("e2e::standalone::the_core_needs_memory_functions_only", core_object),
        test("e2e::standalone::the_host_needs_the_model_only", host_library),
    ]
}

const OTHER_CPU: &str = "e2e::standalone::code_for_another_cpu_is_no_bug";

/// An executable and a folder with a picture, made once.
fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standalone");
        fs::create_dir_all(&dir).expect("the folder can be made");
        let model = dir.join("m.rir");
        rescc(&["new", "cifar-resnet20", "-o", path(&model)]);
        let labels = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n";
        fs::write(dir.join("labels.txt"), labels).expect("the labels can be written");
        let (exe, labels) = (dir.join("m"), dir.join("labels.txt"));
        rescc(&["compile", path(&model), "-o", path(&exe), "--preprocess", "cifar", "--labels", path(&labels)]);
        let mut picture = b"P6 32 32 255\n".to_vec();
        picture.extend((0..32 * 32 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
        fs::write(dir.join("picture.ppm"), &picture).expect("the picture can be written");
        fs::write(dir.join("short.ppm"), &picture[..1000]).expect("the picture can be written");
        fs::write(dir.join("text.png"), "this is no picture").expect("the text can be written");
        dir
    })
}

fn exe() -> PathBuf {
    made().join("m")
}

fn at(name: &str) -> String {
    path(&made().join(name)).to_string()
}

/// Exit code, standard output and standard error.
fn ran(args: &[&str]) -> (i32, String, String) {
    let out = output(&exe(), args);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

fn exit_codes() {
    let picture = at("picture.ppm");
    let (code, out, err) = ran(&[&picture]);
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", 5), "{out}");
    for (args, code, word) in [
        (vec![], 2, "no picture"),
        (vec!["--selftset"], 2, "did you mean --selftest?"),
        (vec!["--threads", "none", &picture], 2, "cannot be 'none'"),
        (vec!["--eval", &picture], 3, "truncated"),
        (vec!["--eval", "/"], 3, "it is a directory"),
        (vec!["--npy", &picture], 3, "not a .npy file"),
        (vec![&picture, "--out", "/proc/no/y.npy"], 5, "cannot be written"),
    ] {
        let (got, _, err) = ran(&args);
        assert_eq!(got, code, "{args:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(word) && err.contains("\n  help: "), "{args:?}: {err}");
    }
    // Bad pictures are named, the good one is still answered.
    let large = at("large.jpg");
    File::create(&large).and_then(|f| f.set_len((256 << 20) + 1)).expect("a sparse file can be made");
    let bad = [at("nothere.png"), at("short.ppm"), at("text.png"), "/".to_string(), large];
    let mut args: Vec<&str> = bad.iter().map(String::as_str).collect();
    args.extend([picture.as_str(), "--top", "1"]);
    let (code, out, err) = ran(&args);
    assert_eq!((code, out.lines().count()), (3, 1), "{err}");
    for (file, word) in bad.iter().zip(["no such file", "truncated PPM", "not a picture", "directory", "256 MiB"]) {
        let mut lines = err.lines().skip_while(|l| !l.contains(&format!("error: {file}: ")));
        let (line, next) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        assert!(line.contains(word) && next.starts_with("  help: "), "{file}: {err}");
    }
}

/// It says what the executable needs and how one for this CPU is made.
fn other_cpu() {
    let dir = super::directory();
    let (model, exe) = (dir.path().join("m.rir"), dir.path().join("m"));
    rescc(&["new", "cifar-resnet8", "--width", "8", "-o", path(&model)]);
    rescc(&["compile", path(&model), "--target", "x86-64-v4", "-o", path(&exe)]);
    let out = output(&exe, &["--bench", "--iterations", "1"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(4), "{said}");
    for part in ["this CPU lacks instructions", "it is for x86-64-v4", "--target native"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("bug"), "{said}");
}

fn standard_streams() {
    let picture = at("picture.ppm");
    let start = |args: &[&str], stdout: Stdio| {
        Command::new(exe())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable starts")
    };
    // A picture from standard input, in pieces.
    let mut child = start(&["-", "--top=1"], Stdio::piped());
    let bytes = fs::read(&picture).expect("the picture is there");
    let mut input = child.stdin.take().expect("piped");
    for piece in bytes.chunks(700) {
        input.write_all(piece).expect("the program reads");
    }
    drop(input);
    let out = child.wait_with_output().expect("the program ends");
    let expected = run(&exe(), &[&picture, "--top=1"]).replace(&picture, "standard input");
    assert_eq!(String::from_utf8_lossy(&out.stdout), expected);

    // A reader that goes away ends the program without a word.
    let mut child = start(&["--help"], Stdio::piped());
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    let status = child.wait().expect("the program ends");
    assert!(status.success() || status.code() == Some(141) || status.signal() == Some(13), "{status}");
    assert_eq!(err, "");

    // A full device is told.
    let full = File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
    let out = start(&["--info"], full.into()).wait_with_output().expect("the program ends");
    assert_eq!(out.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no space is left"));
}

fn outputs() {
    let dir = super::directory();
    let target = dir.path().join("y.npy");
    fs::write(&target, "old").expect("a file can be written");
    run(&exe(), &[&at("picture.ppm"), "--out", path(&target)]);
    assert_eq!(super::npy(&target).len(), 10);
    // Nothing else is left; a failure leaves nothing at all.
    assert_eq!(fs::read_dir(dir.path()).expect("is a folder").count(), 1);
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).expect("a folder can be made");
    let (code, _, err) = ran(&[&at("picture.ppm"), "--out", path(&folder)]);
    assert_eq!((code, err.contains("it is a directory")), (5, true), "{err}");
    assert_eq!(fs::read_dir(dir.path()).expect("is a folder").count(), 2);
    let out = output(&exe(), &["--npy", path(&target), "--out", "/dev/stdout"]);
    assert_eq!(out.status.code(), Some(3), "an output is no input");
}

/// It is written where it is: what stood there stays, and so does `/dev/stdout`.
fn standard_output() {
    let dir = super::directory();
    let [x, y, file] = ["x.npy", "y.npy", "out"].map(|name| dir.path().join(name));
    rescc::import::npy::write(&x, &[1, 3, 32, 32], &[0.5; 3 * 32 * 32]).expect("the array can be written");
    run(&exe(), &["--npy", path(&x), "--out", path(&y)]);
    let expected = fs::read(&y).expect("it was written");
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        fs::write(&file, "before").expect("a file can be written");
        let stdout = File::options().append(true).open(&file).expect("it is there");
        let mut c = Command::new(exe());
        let status = c.args(["--npy", path(&x), "--out", name]).current_dir(dir.path()).stdout(stdout).status();
        assert!(status.expect("the executable starts").success(), "{name}");
        assert!(fs::read(&file).expect("it is there") == [b"before", &expected[..]].concat(), "{name}");
    }
    // What is printed and an array would mix.
    let mixed = Command::new(exe()).args([at("picture.ppm").as_str(), "--out", "-"]).output().expect("it starts");
    assert_eq!((mixed.status.code(), mixed.stdout.len()), (Some(2), 0));
    assert!(!dir.path().join("-").exists());
}

/// A name of 250 bytes is written, a link stays one, and what a process of the same number has left is in nobody's way.
fn names() {
    let dir = super::directory();
    let (picture, long) = (at("picture.ppm"), "y".repeat(250));
    let (target, link, y) = (dir.path().join(&long), dir.path().join("link.npy"), dir.path().join("y.npy"));
    run(&exe(), &[&picture, "--out", path(&target)]);
    fs::write(&target, "old").expect("a file can be written");
    std::os::unix::fs::symlink(&long, &link).expect("a link can be made");
    run(&exe(), &[&picture, "--out", path(&link)]);
    assert!(link.is_symlink());
    assert_eq!(super::npy(&target).len(), 10);
    let script = "touch \"$2.$$.tmp\"; exec \"$0\" \"$1\" --out \"$2\"";
    run(Path::new("sh"), &["-c", script, path(&exe()), &picture, path(&y)]);
    assert_eq!(super::npy(&y).len(), 10);
}

/// A picture without an end, in 64 MiB.
fn out_of_memory() {
    let zeros = File::open("/dev/zero").expect("Linux has /dev/zero");
    let mut c = Command::new("sh");
    c.args(["-c", "ulimit -v 65536; exec \"$0\" - --threads 1", path(&exe())]).stdin(zeros);
    let out = c.output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "error: out of memory\n");
    assert_eq!(out.status.code(), Some(6));
}

fn oversubscribed() {
    let program = path(&exe()).to_string();
    let info = run(Path::new("taskset"), &["-c", "0", &program, "--info", "--json"]);
    assert!(info.contains("\"threads\":1"), "threads follow the affinity: {info}");
    let text = run(Path::new("taskset"), &["-c", "0", &program, "--bench", "--iterations", "20", "--threads", "8"]);
    assert!(text.contains("8 threads, 20 runs"), "{text}");
}

fn elf_file() {
    let bytes = fs::read(exe()).expect("the executable is there");
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let e = Endianness::Little;
    assert_eq!(file.elf_header().e_type(e), elf::ET_DYN, "position-independent");
    let segments = file.elf_program_headers();
    let of = |kind| segments.iter().filter(move |s| s.p_type(e) == kind);
    assert_eq!(of(elf::PT_INTERP).count(), 0, "no dynamic linker");
    assert_eq!(of(elf::PT_GNU_RELRO).count(), 1, "pointers become read-only");
    assert!(of(elf::PT_GNU_STACK).all(|s| !s.p_flags(e).contains(elf::PF_X)), "the stack is not executable");
    assert_eq!(of(elf::PT_GNU_STACK).count(), 1);
    for s in of(elf::PT_LOAD) {
        assert!(!s.p_flags(e).contains(elf::PF_W | elf::PF_X), "a segment to write and execute");
    }
    assert_eq!(file.imports().expect("readable").count(), 0, "no libraries");
}

fn undefined(file: &object::File) -> BTreeSet<String> {
    file.symbols()
        .filter(|s| s.is_undefined())
        .filter_map(|s| s.name().ok())
        .filter(|n| !n.is_empty())
        .map(String::from)
        .collect()
}

fn core_object() {
    let bytes = fs::read(env!("RESCC_CORE_OBJ")).expect("build.rs made it");
    let file = object::File::parse(&*bytes).expect("an object");
    let allowed = ["memcpy", "memset"].map(String::from).into();
    assert!(undefined(&file).is_subset(&allowed), "{:?}", undefined(&file));
    let exported: BTreeSet<_> =
        file.symbols().filter(|s| s.is_global() && s.is_definition()).filter_map(|s| s.name().ok()).collect();
    let expected = ["rescc_core_arena_bytes", "rescc_core_infer", "rescc_core_infer_traced", "rescc_core_strerror"];
    assert_eq!(exported, expected.into());
    // The only mutable byte is the memo of the CPU's level.
    let writable = |s: &object::Section| matches!(s.flags(), object::SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(elf::SHF_WRITE));
    let bytes: u64 = file
        .sections()
        .filter(writable)
        .filter(|s| !s.name().unwrap_or("").contains(".rel.ro"))
        .map(|s| s.size())
        .sum();
    assert!(bytes <= 1, "{bytes} mutable bytes");
}

fn host_library() {
    let bytes = fs::read(env!("RESCC_HOST_LIB")).expect("build.rs made it");
    let archive = ArchiveFile::parse(&*bytes).expect("an archive");
    let (mut needed, mut defined) = (BTreeSet::new(), BTreeSet::new());
    for member in archive.members() {
        let member = member.expect("a member");
        let Ok(file) = object::File::parse(member.data(&*bytes).expect("inside the archive")) else { continue };
        // The compiler's own library names helpers of other platforms; nothing here calls them.
        if !String::from_utf8_lossy(member.name()).contains("compiler_builtins") {
            needed.extend(undefined(&file));
        }
        defined.extend(file.symbols().filter(|s| s.is_definition()).filter_map(|s| s.name().ok()).map(String::from));
    }
    needed.remove("_DYNAMIC"); // of the linker
    let missing: BTreeSet<_> = needed.difference(&defined).map(String::as_str).collect();
    assert_eq!(missing, ["rescc_arena_bytes", "rescc_core_infer_traced", "rescc_model"].into());
    assert!(root().join("runtime/standalone/Cargo.lock").exists(), "the embedded build is locked");
}
