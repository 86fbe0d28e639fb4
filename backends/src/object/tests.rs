use super::*;
use cranelift_entity::PrimaryMap;
use ir::entity::Slot;
use ir::kernel::{KernelBuilder, Role};
use ir::program::{Call, SlotData, Space};
use ir::{DType, Program};
use object::read::{Object, ObjectSection, ObjectSymbol, archive::ArchiveFile};
use std::borrow::Cow;

fn piece(offset: u64, bytes: &[u8]) -> Piece<'_> {
    Piece { offset, bytes: Cow::Borrowed(bytes) }
}

#[test]
fn weights_lie_where_they_should() {
    let mut out = Vec::new();
    write_weights("m", 300, vec![piece(0, &[1; 60]), piece(64, &[2; 64]), piece(192, &[3; 4])], &mut out).unwrap();
    let file = object::File::parse(&*out).unwrap();
    let section = file.section_by_name(".rodata.rescc_weights").unwrap();
    let mut expected = vec![0; 300];
    expected[..60].fill(1);
    expected[64..128].fill(2);
    expected[192..196].fill(3);
    assert_eq!(section.data().unwrap(), expected);
    assert_eq!(section.align(), 64);
    assert_eq!(section.file_range().unwrap().0 % 64, 0);
    let symbol = file.symbols().find(|s| s.name() == Ok("m_weights")).unwrap();
    assert_eq!((symbol.address(), symbol.size(), symbol.section_index()), (0, 300, Some(section.index())));
    assert!(file.section_by_name(".note.GNU-stack").is_some());
}

#[test]
fn misplaced_weights_are_refused() {
    for pieces in [vec![piece(0, &[1; 65]), piece(64, &[2; 1])], vec![piece(64, &[1; 1]), piece(0, &[2; 1])]] {
        let e = write_weights("m", 300, pieces, Vec::new()).unwrap_err();
        assert!(e.to_string().contains("overlap"), "{e}");
    }
    let e = write_weights("m", 300, vec![piece(256, &[1; 45])], Vec::new()).unwrap_err();
    assert!(e.to_string().contains("past the end"), "{e}");
}

/// Calls that copy 64 bytes from one slot to another.
fn copies(calls: &[(usize, usize)]) -> Program {
    let mut k = KernelBuilder::new("copy");
    let x = k.param("x", DType::U8, &[64], Role::In);
    let y = k.param("y", DType::U8, &[64], Role::Out);
    let t = k.tasks(64);
    let v = k.load(x, std::slice::from_ref(&t));
    k.store(y, &[t], v);
    let mut slots = PrimaryMap::new();
    let arena = |offset| Space::Arena { offset, first: 0, last: 9 };
    let spaces = [Space::Input(0), Space::Output(0), Space::Const { offset: 0 }, arena(0), arena(64), arena(32)];
    let slots_of: Vec<Slot> = spaces
        .into_iter()
        .map(|space| slots.push(SlotData { name: "s".into(), dtype: DType::U8, dims: vec![64], space }))
        .collect();
    let call = |&(from, to): &(usize, usize)| Call {
        kernel: 0,
        args: vec![slots_of[from], slots_of[to]],
        node: String::new(),
        op: "copy".into(),
        macs: 0,
    };
    Program {
        name: "p".into(),
        target: "x86-64-v2".into(),
        batch: 1,
        slots,
        kernels: vec![k.finish()],
        calls: calls.iter().map(call).collect(),
        arena_bytes: 128,
        const_bytes: 64,
    }
}

const INPUT: usize = 0;
const OUTPUT: usize = 1;
const CONST: usize = 2;
/// Three buffers of the arena; C overlaps both others.
const A: usize = 3;
const B: usize = 4;
const C: usize = 5;

#[test]
fn a_barrier_stands_where_calls_depend_and_nowhere_else() {
    let barriers = |list: &[(usize, usize)]| calls(&copies(list)).iter().map(|c| c.barrier).collect::<Vec<_>>();
    // Both read the input and write apart.
    assert_eq!(barriers(&[(INPUT, A), (INPUT, B)]), [false, false]);
    // Read after write; then nothing is pending but B.
    assert_eq!(barriers(&[(INPUT, A), (A, B), (A, OUTPUT)]), [false, true, false]);
    assert_eq!(barriers(&[(INPUT, A), (A, B), (B, OUTPUT)]), [false, true, true]);
    // Write after read, write after write, by overlap.
    assert_eq!(barriers(&[(A, OUTPUT), (INPUT, C)]), [false, true]);
    assert_eq!(barriers(&[(INPUT, A), (CONST, C)]), [false, true]);
    // Weights never change.
    assert_eq!(barriers(&[(CONST, A), (CONST, B), (CONST, OUTPUT)]), [false, false, false]);
}

fn desc<'a>(prefix: &'a str, program: &'a Program, labels: &'a [String]) -> ModelDesc<'a> {
    ModelDesc {
        prefix,
        name: "a net */ with a name",
        version: "0.1.0",
        target: &program.target,
        code: CodeDesc::new(program),
        weights_bytes: program.const_bytes,
        batch: 1,
        input: [1, 4, 4],
        classes: 16,
        macs: 0,
        params: 0,
        labels,
        preprocess: None,
        weights_sha256: [7; 32],
    }
}

#[test]
fn a_model_exports_its_api_alone_and_compiles_to_the_same_bytes() {
    let program = copies(&[(INPUT, A), (A, OUTPUT)]);
    let bytes = model_object(&desc("net", &program, &[])).unwrap();
    assert_eq!(bytes, model_object(&desc("net", &program, &[])).unwrap());
    let file = object::File::parse(&*bytes).unwrap();
    let named = |f: fn(&object::Symbol) -> bool| {
        let mut names: Vec<String> =
            file.symbols().filter(f).map(|s| s.name().unwrap().to_string()).filter(|n| !n.is_empty()).collect();
        names.sort();
        names
    };
    let exported = named(|s| s.is_definition() && s.scope() == object::SymbolScope::Dynamic);
    let functions = ["abi_version", "arena_align", "arena_bytes", "infer", "info", "strerror"];
    assert_eq!(exported, functions.map(|f| format!("net_{f}")));
    let core = ["rescc_core_arena_bytes", "rescc_core_infer", "rescc_core_strerror"];
    let mut undefined: Vec<String> = core.iter().map(|s| s.to_string()).collect();
    undefined.splice(0..0, ["net_k_copy", "net_weights"].map(str::to_string));
    assert_eq!(named(|s| s.is_undefined()), undefined);
    // Pointers are in a section that a loader may relocate, nothing is writable for good.
    assert!(file.section_by_name(".data.rel.ro").is_some());
    assert!(file.section_by_name(".data").is_none_or(|s| s.size() == 0));
    let text = named_header(&header(&desc("net", &program, &[])), "my net.v2.h");
    assert!(text.contains("#include \"my net.v2.h\"") && text.contains("`cc main.c my net.v2.a`"), "{text}");
    assert_eq!(text.matches("*/").count(), text.matches("/*").count(), "a name ends the comment");
    assert!(!text.contains('@'), "a placeholder is left");
    assert!(text.contains("multiply-adds of one image"), "`macs` is not of one run, which may be of a batch");
}

#[test]
fn a_header_says_what_goes_in_and_what_comes_out() {
    let program = copies(&[(INPUT, OUTPUT)]);
    let text = header(&desc("net", &program, &[]));
    assert!(text.contains("does not say how a picture becomes x") && text.contains("does not name the classes"));
    let labels: Vec<String> = (0..14).map(|i| format!("class */ {i}")).collect();
    let numbers = PreprocessDesc {
        resize: Some(256),
        bgr: true,
        scale: 255.0,
        mean: [0.25, 0.5, 0.75, 0.0],
        std: [2.0, 3.0, 4.0, 1.0],
        mean_tensor: None,
    };
    let model = ModelDesc { input: [3, 5, 6], preprocess: Some(numbers), ..desc("net", &program, &labels) };
    let text = header(&model);
    for part in [
        "256 pixels on its shorter side",
        "5 rows and 6 columns",
        "(blue, green, red)",
        "(byte / 255 - mean) / std, where mean = 0.25, 0.5, 0.75 and std = 2, 3, 4.",
        " *    11  class * / 11\n *        and 2 more\n *\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("*/").count(), text.matches("/*").count(), "a name ends the comment");
}

#[test]
fn an_archive_reads_back() {
    let program = copies(&[(INPUT, OUTPUT)]);
    let model = model_object(&desc("net", &program, &[])).unwrap();
    let mut weights = Vec::new();
    write_weights("net", 65, vec![], &mut weights).unwrap();
    let members = [
        Member { name: "m.o".into(), bytes: &model },
        Member { name: "a_rather_long_member_name.o".into(), bytes: &weights },
    ];
    let mut out = Vec::new();
    write_archive(&members, &mut out).unwrap();
    let archive = ArchiveFile::parse(&*out).unwrap();
    let mut found = Vec::new();
    for m in archive.members() {
        let m = m.unwrap();
        found.push((String::from_utf8_lossy(m.name()).into_owned(), m.data(&*out).unwrap().to_vec()));
    }
    assert_eq!(found, members.map(|m| (m.name, m.bytes.to_vec())));
    let symbols = archive.symbols().unwrap().unwrap();
    let mut owner = None;
    for s in symbols {
        let s = s.unwrap();
        if s.name() == b"net_weights" {
            owner = Some(archive.member(s.offset()).unwrap().name().to_vec());
        }
    }
    assert_eq!(owner.as_deref(), Some(&b"a_rather_long_member_name.o"[..]));
}

#[test]
fn any_name_becomes_a_c_prefix() {
    assert_eq!(prefix_of("resnet50"), "resnet50");
    assert_eq!(prefix_of("cifar-resnet20.v2"), "cifar_resnet20_v2");
    assert_eq!(prefix_of("50 layers"), "m_50_layers");
    assert_eq!(prefix_of("é"), "m");
    assert_eq!(prefix_of("net_"), "net");
    assert_eq!(prefix_of(""), "m");
}
