use super::*;
use object::elf::R_X86_64_PLT32;
use object::write::{Object, Relocation, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn symbol(o: &mut Object, name: &str, defined: bool) -> SymbolId {
    let section = if defined { SymbolSection::None } else { SymbolSection::Undefined };
    o.add_symbol(Symbol {
        name: name.as_bytes().to_vec(),
        value: 0,
        size: 0,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section,
        flags: SymbolFlags::None,
    })
}

/// An object that defines `name` as `code` and calls `callee` if there is one.
fn object(name: &str, code: &[u8], callee: Option<&str>) -> Vec<u8> {
    let mut o = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    o.add_section(vec![], b".note.GNU-stack".to_vec(), SectionKind::Other);
    // Any bytes are right in this one; a linker reads the others to say where an undefined symbol is used.
    let debug = o.add_section(vec![], b".debug_str".to_vec(), SectionKind::DebugString);
    o.append_section_data(debug, b"what debuggers read\0", 1);
    let text = o.section_id(StandardSection::Text);
    let own = symbol(&mut o, name, true);
    let mut bytes = code.to_vec();
    if let Some(callee) = callee {
        // call callee; mov edi, eax; mov eax, 60; syscall: exits with what it returns
        bytes = vec![0xe8, 0, 0, 0, 0, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
        let target = symbol(&mut o, callee, false);
        let flags = RelocationFlags::Elf { r_type: R_X86_64_PLT32 };
        o.add_relocation(text, Relocation { offset: 1, symbol: target, addend: -4, flags }).unwrap();
    }
    o.add_symbol_data(own, text, &bytes, 16);
    o.write().unwrap()
}

/// mov eax, 42; ret
const FORTY_TWO: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];

fn executable(inputs: Vec<Input>, linker: Linker, output: &Path) -> Result<(), Diagnostics> {
    Stage::new(inputs, tempfile::tempdir().unwrap(), output)?.executable(linker)
}

fn link(linker: Linker, directory: &Path) -> PathBuf {
    let output = directory.join("program");
    make_program(linker, &output).unwrap();
    output
}

fn make_program(linker: Linker, output: &Path) -> Result<(), Diagnostics> {
    let (start, answer) = (object("_start", &[], Some("answer")), object("answer", &FORTY_TWO, None));
    let inputs = vec![Input::bytes("start.o", &start), Input::writer("answer.o", |f| f.write_all(&answer))];
    executable(inputs, linker, output)
}

/// The linkers that are other programs: `cc` always, as the tests need a C compiler anyway, and `ld.lld` if it is there.
fn external_linkers() -> Vec<Linker> {
    let lld = external::run(external::LLD, &["--version".into()], Path::new("."));
    if lld.is_err() {
        // Past what the test harness keeps back.
        _ = std::io::stderr().write_all(b"[SKIP] links by lld: ld.lld is not installed\n");
    }
    [Linker::Cc].into_iter().chain(lld.is_ok().then_some(Linker::Lld)).collect()
}

#[test]
fn every_linker_makes_a_program_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    for linker in [Linker::Wild].into_iter().chain(external_linkers()) {
        let output = link(linker, directory.path());
        assert_eq!(Command::new(&output).status().unwrap().code(), Some(42), "{linker:?}");
        assert_ne!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o100, 0);
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["program"], "{linker:?} leaves files behind");
    }
}

/// What the archive of the host program brings of it is a fifth of an executable without its weights.
#[test]
fn no_linker_keeps_what_debuggers_read() {
    use object::read::{Object, ObjectSection};
    let directory = tempfile::tempdir().unwrap();
    for linker in [Linker::Wild].into_iter().chain(external_linkers()) {
        let bytes = std::fs::read(link(linker, directory.path())).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let kept: Vec<_> = file.sections().filter_map(|s| s.name().ok()).filter(|n| n.starts_with(".debug")).collect();
        assert!(kept.is_empty(), "{linker:?} keeps {kept:?}");
    }
}

#[test]
fn equal_inputs_give_equal_bytes_in_any_directory() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::Builder::new().prefix("elsewhere-").tempdir().unwrap());
    for linker in [Linker::Wild].into_iter().chain(external_linkers()) {
        let [x, y] = [&a, &b].map(|d| std::fs::read(link(linker, d.path())).unwrap());
        assert!(x == y, "{linker:?}");
    }
}

#[test]
fn what_the_linker_says_becomes_a_diagnostic_and_the_old_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("program");
    std::fs::write(&output, "old").unwrap();
    for linker in [Linker::Wild].into_iter().chain(external_linkers()) {
        let start = object("_start", &[], Some("nowhere"));
        let e = executable(vec![Input::bytes("start.o", &start)], linker, &output).unwrap_err();
        assert_eq!(e.0[0].code, "E0708", "{linker:?}");
        assert!(e.0[0].notes.iter().any(|n| n.contains("nowhere")), "{linker:?}: {:?}", e.0[0].notes);
        let e = executable(vec![Input::bytes("start.o", b"no object")], linker, &output).unwrap_err();
        assert_eq!(e.0[0].code, "E0708", "{linker:?}");
        assert_eq!(std::fs::read(&output).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "{linker:?} leaves files behind");
    }
    let e = make_program(Linker::Wild, &directory.path().join("none/program")).unwrap_err();
    assert_eq!(e.0[0].code, "E0803");
}

#[test]
fn a_library_exports_what_it_should() {
    use object::read::{Object, ObjectSymbol};
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("libanswer.so");
    let (inner, outer) = (object("inner", &FORTY_TWO, None), object("outer", &FORTY_TWO, None));
    let inputs = || vec![Input::bytes("inner.o", &inner), Input::bytes("outer.o", &outer)];
    for linker in external_linkers() {
        let folder = tempfile::tempdir().unwrap();
        shared_library(inputs(), linker, "libanswer.so.1", &["outer".into()], folder, &output).unwrap();
        let bytes = std::fs::read(&output).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let exported: Vec<_> =
            file.dynamic_symbols().filter(|s| s.is_definition()).map(|s| s.name().unwrap().to_string()).collect();
        assert_eq!(exported, ["outer"], "{linker:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let e = shared_library(inputs(), Linker::Wild, "libanswer.so.1", &[], folder, &output).unwrap_err();
    assert_eq!((e.0[0].code, e.0[0].class), ("E0708", Class::Unsupported));
}

#[test]
fn a_linker_that_is_missing_is_named() {
    let e = external::run(&["no-such-linker", "nor-this"], &[], Path::new(".")).unwrap_err();
    assert_eq!((e.0[0].code, e.0[0].class), ("E0709", Class::Toolchain));
    assert!(e.0[0].message.contains("no-such-linker"));
}
