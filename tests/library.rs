//! The library of a model: its descriptor is what the runtime reads, its header is C and C++, and programs may link
//! several of them.

mod header;

use crate::{root, test};
use ::object as elf;
use backends::Backend;
use backends::cranelift::Cranelift;
use backends::link::{self, Input, Linker};
use backends::object::{
    self, CODES, CodeDesc, Member, ModelDesc, Piece, PreprocessDesc, StateTensorDesc, TensorKind, TrainDesc,
};
use elf::read::{Object, ObjectSection, ObjectSymbol};
use elf::{RelocationTarget, SymbolIndex};
use ir::kernel::{KernelBuilder, Role};
use ir::program::{Call, SlotData, Space};
use ir::target::X86_64_V2;
use ir::{DType, Program};
use libtest_mimic::Trial;
use runtime::{abi, train};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

static CORE: &[u8] = include_bytes!(env!("RESCC_CORE_OBJ"));

pub fn tests() -> Vec<Trial> {
    vec![
        test("library::the_descriptor_is_laid_out_as_the_runtime_reads_it", descriptor),
        test("library::a_training_descriptor_is_laid_out_as_the_runtime_reads_it", training_descriptor),
        test("library::the_header_is_strict_c_and_cpp_and_its_example_compiles", header::strict),
        test("library::the_program_in_a_header_is_built_as_it_says", header::complete_program),
        test("library::two_models_in_one_program", two_models),
        test("library::a_shared_library_needs_nothing_but_memory_functions", shared_library),
    ]
}

const CHANNELS: i64 = 2;
const PIXELS: i64 = 12;

/// Two calls: t = x · weight of the channel, then y = Σ over channels of t. One image a run.
fn program(name: &str) -> Program {
    let (c, n) = (CHANNELS, PIXELS);
    let mut k = KernelBuilder::new("infer"); // the name of an API function, on purpose
    let x = k.param("x", DType::F32, &[c, n], Role::In);
    let w = k.param("w", DType::F32, &[c], Role::In);
    let y = k.param("y", DType::F32, &[c, n], Role::Out);
    let t = k.tasks(c);
    let weight = k.load(w, std::slice::from_ref(&t));
    k.for_(0, n, |k, i| {
        let v = k.load(x, &[t.clone(), i.clone()]);
        let v = k.mul(v, weight);
        k.store(y, &[t.clone(), i], v);
    });
    let scale = k.finish();
    let mut k = KernelBuilder::new("sum");
    let x = k.param("x", DType::F32, &[c, n], Role::In);
    let y = k.param("y", DType::F32, &[n], Role::Out);
    let t = k.tasks(n);
    let zero = k.constant(DType::F32, 1, 0.0);
    let sum = k.for_carry(0, c, &[zero], |k, i, acc| {
        let v = k.load(x, &[i, t.clone()]);
        vec![k.add(acc[0], v)]
    });
    k.store(y, &[t], sum[0]);
    let sum = k.finish();

    let mut p = Program {
        name: name.into(),
        target: X86_64_V2.name.into(),
        batch: 1,
        slots: Default::default(),
        kernels: vec![scale, sum],
        calls: Vec::new(),
        arena_bytes: 256,
        const_bytes: 72,
    };
    let mut slot = |name: &str, dims: &[u64], space| {
        p.slots.push(SlotData { name: name.into(), dtype: DType::F32, dims: dims.to_vec(), space })
    };
    let (h, w) = (3, 4);
    let x = slot("x", &[1, 2, h, w], Space::Input(0));
    let weight = slot("w", &[2], Space::Const { offset: 64 });
    let t = slot("t", &[2, h * w], Space::Arena { offset: 128, first: 0, last: 1 });
    let y = slot("y", &[1, h * w], Space::Output(0));
    let call = |kernel, args, node: &str| Call { kernel, args, node: node.into(), op: "test".into(), macs: 24 };
    p.calls = vec![call(0, vec![x, weight, t], "t"), call(1, vec![t, y], "y")];
    p
}

fn desc<'a>(prefix: &'a str, p: &'a Program, labels: &'a [String]) -> ModelDesc<'a> {
    ModelDesc {
        prefix,
        name: &p.name,
        version: "1.2.3",
        target: X86_64_V2.name,
        code: CodeDesc::new(p),
        weights_bytes: p.const_bytes,
        batch: 1,
        input: [2, 3, 4],
        classes: 12,
        macs: 48,
        params: 2,
        labels,
        preprocess: Some(PreprocessDesc {
            resize: Some(256),
            bgr: true,
            scale: 255.0,
            mean: [0.25, 0.5, 0.75, 0.0],
            std: [2.0, 3.0, 4.0, 1.0],
            mean_tensor: Some(64),
        }),
        weights_sha256: std::array::from_fn(|i| i as u8),
    }
}

/// The objects of a model with these two weights: kernels, descriptor, weights.
fn objects(prefix: &str, p: &Program, weights: [f32; 2]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let kernels = Cranelift.compile(&p.kernels, &object::kernel_prefix(prefix), &X86_64_V2).unwrap();
    out.extend(kernels.into_iter().enumerate().map(|(i, o)| (format!("kernels{i}.o"), o)));
    out.push(("model.o".into(), object::model_object(&desc(prefix, p, &[])).unwrap()));
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut section = Vec::new();
    let piece = Piece { offset: 64, bytes: Cow::Owned(bytes) };
    object::write_weights(prefix, p.const_bytes, vec![piece], &mut section).unwrap();
    out.push(("weights.o".into(), section));
    out.push(("core.o".into(), CORE.to_vec()));
    out
}

fn descriptor() {
    let p = program("net");
    let labels = ["cat".to_string(), "tabby dog".to_string()];
    let bytes = object::model_object(&desc("net", &p, &labels)).unwrap();
    let file = elf::File::parse(&*bytes).unwrap();
    let data = Data::of(&file);

    let m = data.at("net_model", 0);
    let u32_at = |at: usize| u32::from_le_bytes(m.bytes[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(m.bytes[at..at + 8].try_into().unwrap());
    let f32_at = |at: usize| f32::from_bits(u32_at(at));
    assert_eq!(m.bytes.len(), size_of::<abi::Model>());
    assert_eq!(u32_at(offset_of!(abi::Model, abi)), abi::ABI);
    assert_eq!(u32_at(offset_of!(abi::Model, code.n_calls)), 2);
    assert_eq!(u64_at(offset_of!(abi::Model, weights_bytes)), 72);
    assert_eq!(u64_at(offset_of!(abi::Model, code.arena_bytes)), 256);
    assert_eq!(u64_at(offset_of!(abi::Model, code.scratch_bytes)), p.scratch_bytes());
    assert_eq!(u32_at(offset_of!(abi::Model, batch)), 1);
    assert_eq!(u32_at(offset_of!(abi::Model, channels)), 2);
    assert_eq!(u32_at(offset_of!(abi::Model, height)), 3);
    assert_eq!(u32_at(offset_of!(abi::Model, width)), 4);
    assert_eq!(u32_at(offset_of!(abi::Model, classes)), 12);
    assert_eq!(u64_at(offset_of!(abi::Model, macs)), 48);
    assert_eq!(u64_at(offset_of!(abi::Model, params)), 2);
    assert_eq!(u64_at(offset_of!(abi::Model, labels_bytes)), 13);
    let pre = offset_of!(abi::Model, preprocess);
    assert_eq!(u32_at(pre + offset_of!(abi::Preprocess, known)), 1);
    assert_eq!(u32_at(pre + offset_of!(abi::Preprocess, resize)), 256);
    assert_eq!(u32_at(pre + offset_of!(abi::Preprocess, bgr)), 1);
    assert_eq!(f32_at(pre + offset_of!(abi::Preprocess, scale)), 255.0);
    for (i, (mean, std)) in [(0.25, 2.0), (0.5, 3.0), (0.75, 4.0), (0.0, 1.0)].into_iter().enumerate() {
        assert_eq!(f32_at(pre + offset_of!(abi::Preprocess, mean) + 4 * i), mean);
        assert_eq!(f32_at(pre + offset_of!(abi::Preprocess, std) + 4 * i), std);
    }
    let sha = offset_of!(abi::Model, weights_sha256);
    assert_eq!(m.bytes[sha..sha + 32], std::array::from_fn::<u8, 32, _>(|i| i as u8));
    let (weights, offset) = m.pointers[&(pre + offset_of!(abi::Preprocess, mean_tensor))].clone();
    assert_eq!((weights.as_str(), offset), ("net_weights", 64));
    assert_eq!(m.pointers[&offset_of!(abi::Model, code.weights)], ("net_weights".into(), 0));
    assert_eq!(m.text(&data, offset_of!(abi::Model, name)), "net");
    assert_eq!(m.text(&data, offset_of!(abi::Model, version)), "1.2.3");
    assert_eq!(m.text(&data, offset_of!(abi::Model, code.target)), X86_64_V2.name);
    assert_eq!(m.text(&data, offset_of!(abi::Model, labels)), "cat\ntabby dog");

    // The call table and the arguments of its second call: arena 128, output 0; it waits for the first.
    let (calls, offset) = m.pointers[&offset_of!(abi::Model, code.calls)].clone();
    let calls = data.at(&calls, offset as usize);
    assert_eq!(calls.bytes.len(), 2 * size_of::<abi::Call>());
    let second = size_of::<abi::Call>();
    let number = |at: usize| u32::from_le_bytes(calls.bytes[at..at + 4].try_into().unwrap());
    assert_eq!(calls.pointers[&(second + offset_of!(abi::Call, kernel))], ("net_k_sum".into(), 0));
    assert_eq!(number(second + offset_of!(abi::Call, n_args)), 2);
    assert_eq!(number(second + offset_of!(abi::Call, tasks)), 12);
    assert_eq!([number(offset_of!(abi::Call, barrier)), number(second + offset_of!(abi::Call, barrier))], [0, 1]);
    let (args, offset) = calls.pointers[&(second + offset_of!(abi::Call, args))].clone();
    let args = data.at(&args, offset as usize);
    assert_eq!(args.bytes.len(), 2 * size_of::<abi::Arg>());
    let number = |at: usize| u32::from_le_bytes(args.bytes[at..at + 4].try_into().unwrap());
    let one = size_of::<abi::Arg>();
    assert_eq!(number(offset_of!(abi::Arg, space)), abi::SPACE_ARENA);
    assert_eq!(number(offset_of!(abi::Arg, offset)), 128);
    assert_eq!(number(one + offset_of!(abi::Arg, space)), abi::SPACE_OUTPUT);
    assert_eq!(number(one + offset_of!(abi::Arg, index)), 0);
    assert_eq!(abi::MAX_PARAMS, ir::program::verify::MAX_PARAMS);
}

fn training_descriptor() {
    assert_eq!(object::JOB_BYTES, abi::JOB_BYTES);
    assert_eq!(CODES[train::STEP], "step");
    assert_eq!(CODES[train::GRAD], "grad");
    assert_eq!(CODES[train::APPLY], "apply");
    assert_eq!(CODES[train::STATISTICS], "statistics");
    assert_eq!(CODES[train::PREDICT], "predict");
    let p = program("net");
    let tensor = |name: &str, offset, shape: &[u64], kind| StateTensorDesc {
        name: name.into(),
        offset,
        shape: shape.to_vec(),
        kind,
    };
    let t = TrainDesc {
        prefix: "net",
        name: "net",
        version: "1.2.3",
        target: X86_64_V2.name,
        codes: std::array::from_fn(|i| CodeDesc { weights_at: 64 * i as u64, ..CodeDesc::new(&p) }),
        batch: 5,
        input: [2, 3, 4],
        classes: 12,
        options: "none".into(),
        tensors: vec![tensor("s", 128, &[7], TensorKind::Statistic), tensor("w", 64, &[2, 3], TensorKind::Parameter)],
        parameter_bytes: 192,
        statistic_bytes: 64,
        initial_at: 640,
        saved_header: b"header".to_vec(),
        hash_at: 3,
        preset: None,
    };
    let bytes = object::train_object(&t).unwrap();
    let file = elf::File::parse(&*bytes).unwrap();
    let data = Data::of(&file);
    let d = data.at("net_train", 0);
    assert_eq!(d.bytes.len(), size_of::<train::Train>());
    assert_eq!(d.u32(offset_of!(train::Train, abi)), abi::ABI);
    assert_eq!(d.u32(offset_of!(train::Train, batch)), 5);
    assert_eq!(d.u32(offset_of!(train::Train, classes)), 12);
    assert_eq!(d.u32(offset_of!(train::Train, n_tensors)), 2);
    assert_eq!(d.u32(offset_of!(train::Train, image)), 24);
    assert_eq!(d.u32(offset_of!(train::Train, parameter_bytes)), 192);
    assert_eq!(d.u32(offset_of!(train::Train, statistic_bytes)), 64);
    assert_eq!(d.pointers[&offset_of!(train::Train, initial)], ("net_weights".into(), 640));
    assert_eq!(d.u32(offset_of!(train::Train, header_bytes)), 6);
    assert_eq!(d.u32(offset_of!(train::Train, hash_at)), 3);
    assert_eq!(d.bytes_at(&data, offset_of!(train::Train, header), 6), b"header");
    for (i, code) in CODES.iter().enumerate() {
        let at = offset_of!(train::Train, codes) + i * size_of::<abi::Code>();
        assert_eq!(d.u32(at + offset_of!(abi::Code, n_calls)), 2);
        assert_eq!(d.u32(at + offset_of!(abi::Code, group)), 1);
        assert_eq!(d.pointers[&(at + offset_of!(abi::Code, weights))], ("net_weights".into(), 64 * i as i64));
        assert_eq!(d.u32(at + offset_of!(abi::Code, arena_bytes)), 256);
        assert_eq!(d.u32(at + offset_of!(abi::Code, scratch_bytes)), p.scratch_bytes() as u32);
        assert_eq!(d.text(&data, at + offset_of!(abi::Code, target)), X86_64_V2.name);
        assert_eq!(d.pointers[&(at + offset_of!(abi::Code, calls))].0, format!("net_{code}_calls"));
    }
    let (tensors, offset) = d.pointers[&offset_of!(train::Train, tensors)].clone();
    let tensors = data.at(&tensors, offset as usize);
    assert_eq!(tensors.bytes.len(), 2 * size_of::<train::Tensor>());
    let w = size_of::<train::Tensor>();
    assert_eq!(tensors.text(&data, offset_of!(train::Tensor, name)), "s");
    assert_eq!(tensors.text(&data, w + offset_of!(train::Tensor, name)), "w");
    assert_eq!(tensors.u32(w + offset_of!(train::Tensor, offset)), 16);
    assert_eq!(tensors.u32(w + offset_of!(train::Tensor, elements)), 6);
    let shape = w + offset_of!(train::Tensor, shape);
    assert_eq!([0, 4, 8, 12].map(|i| tensors.u32(shape + i)), [2, 3, 1, 1]);
    assert_eq!(tensors.u32(w + offset_of!(train::Tensor, rank)), 2);
    assert_eq!([0, w].map(|at| tensors.u32(at + offset_of!(train::Tensor, kind))), [train::STATISTIC, 0]);
}

/// Data symbols of an object, with what their pointers point to.
struct Data(BTreeMap<String, Item>);

#[derive(Clone)]
struct Item {
    bytes: Vec<u8>,
    /// By offset: symbol and addend.
    pointers: BTreeMap<usize, (String, i64)>,
}

impl Data {
    fn of(file: &elf::File) -> Data {
        let name = |i: SymbolIndex| file.symbol_by_index(i).unwrap().name().unwrap().to_string();
        let mut out = BTreeMap::new();
        for s in file.symbols().filter(|s| s.is_definition() && s.size() > 0) {
            let section = file.section_by_index(s.section_index().unwrap()).unwrap();
            let (start, end) = (s.address() as usize, (s.address() + s.size()) as usize);
            let mut pointers = BTreeMap::new();
            for (at, r) in section.relocations() {
                if let (RelocationTarget::Symbol(to), true) = (r.target(), (start..end).contains(&(at as usize))) {
                    pointers.insert(at as usize - start, (name(to), r.addend()));
                }
            }
            let bytes = section.data().unwrap()[start..end].to_vec();
            out.insert(s.name().unwrap().to_string(), Item { bytes, pointers });
        }
        Data(out)
    }

    /// What lies `offset` bytes into a symbol.
    fn at(&self, symbol: &str, offset: usize) -> Item {
        let item = &self.0[symbol];
        let pointers = item.pointers.range(offset..).map(|(at, to)| (at - offset, to.clone())).collect();
        Item { bytes: item.bytes[offset..].to_vec(), pointers }
    }
}

impl Item {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// Bytes that the pointer at `offset` points to.
    fn bytes_at(&self, data: &Data, offset: usize, len: usize) -> Vec<u8> {
        let (symbol, addend) = &self.pointers[&offset];
        data.at(symbol, *addend as usize).bytes[..len].to_vec()
    }

    /// The text that the pointer at `offset` points to.
    fn text(&self, data: &Data, offset: usize) -> String {
        let (symbol, addend) = &self.pointers[&offset];
        let bytes = data.at(symbol, *addend as usize).bytes;
        let (zero, text) = bytes.split_last().expect("a text ends in a zero");
        assert_eq!(*zero, 0);
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        String::from_utf8(text[..end].to_vec()).unwrap()
    }
}

fn succeeds(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// What `tests/c/two_models.c` prints for these weights: two images x = 0, 1, 2, … in a row.
fn expected(weights: [[f32; 2]; 2]) -> String {
    let line = |w: [f32; 2]| {
        let mut line = String::new();
        for image in 0..2 {
            for i in 0..PIXELS {
                let x = |c: i64| ((image * CHANNELS + c) * PIXELS + i) as f32;
                line += &format!("{} ", x(0) * w[0] + x(1) * w[1]);
            }
        }
        line + "\n"
    };
    weights.map(line).concat()
}

const WEIGHTS: [[f32; 2]; 2] = [[3.0, -1.0], [0.5, 7.0]];

fn write_headers(dir: &Path) {
    for name in ["one", "two"] {
        let p = program(name);
        std::fs::write(dir.join(format!("{name}.h")), object::header(&desc(name, &p, &[]))).unwrap();
    }
}

fn compile_c(dir: &Path, libraries: &[&str]) -> Command {
    let source = root().join("tests/c/two_models.c");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I."]).arg(source).args(libraries);
    succeeds(cc.args(["-pthread", "-o", "program"]).current_dir(dir));
    Command::new(dir.join("program"))
}

fn two_models() {
    let dir = tempfile::tempdir().unwrap();
    write_headers(dir.path());
    for (name, weights) in ["one", "two"].into_iter().zip(WEIGHTS) {
        let p = program(name);
        let objects = objects(name, &p, weights);
        let members: Vec<Member> = objects.iter().map(|(name, bytes)| Member { name: name.clone(), bytes }).collect();
        let file = File::create(dir.path().join(format!("lib{name}.a"))).unwrap();
        object::write_archive(&members, file).unwrap();
    }
    for mode in ["-pie", "-no-pie", "-Wl,--gc-sections"] {
        let mut program = compile_c(dir.path(), &[mode, "libone.a", "libtwo.a"]);
        assert_eq!(succeeds(&mut program), expected(WEIGHTS), "{mode}");
    }
}

fn shared_library() {
    let dir = tempfile::tempdir().unwrap();
    write_headers(dir.path());
    for (name, weights) in ["one", "two"].into_iter().zip(WEIGHTS) {
        let p = program(name);
        let objects = objects(name, &p, weights);
        let inputs = objects.iter().map(|(name, bytes)| Input::bytes(name, bytes)).collect();
        let api = ["infer", "arena_bytes", "arena_align", "info", "abi_version", "strerror"];
        let exports: Vec<String> = api.iter().map(|f| format!("{name}_{f}")).collect();
        let file = dir.path().join(format!("lib{name}.so"));
        let folder = tempfile::tempdir().unwrap();
        link::shared_library(inputs, Linker::Cc, &format!("lib{name}.so"), &exports, folder, &file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let file = elf::File::parse(&*bytes).unwrap();
        let named = |defined: bool| {
            let symbols = file.dynamic_symbols().filter(|s| s.is_definition() == defined);
            let mut names: Vec<String> = symbols.map(|s| s.name().unwrap().to_string()).collect();
            names.retain(|n| !n.is_empty());
            names.sort();
            names
        };
        let mut all = exports.clone();
        all.sort();
        assert_eq!(named(true), all);
        let foreign: Vec<String> = named(false).into_iter().filter(|n| n != "memcpy" && n != "memset").collect();
        assert!(foreign.is_empty(), "undefined: {foreign:?}");
    }
    let mut program = compile_c(dir.path(), &["-L.", "-lone", "-ltwo", "-Wl,-rpath,$ORIGIN"]);
    assert_eq!(succeeds(&mut program), expected(WEIGHTS));
}
