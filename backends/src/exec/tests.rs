use super::*;
use crate::cranelift::{Cranelift, Jit};
use ir::kernel::KernelBuilder;
use ir::program::{Call, SlotData, Space};
use ir::store::{MemoryStore, TensorData};
use ir::target::X86_64_V2;
use ir::{DType, Program, interp};
use std::borrow::Cow;

const N: i64 = 40;

/// t = x + w, then y = t + t; the slots are x, w, t, y.
fn program() -> Program {
    let mut k = KernelBuilder::new("add");
    let [a, b] = ["a", "b"].map(|name| k.param(name, DType::F32, &[N], Role::In));
    let y = k.param("y", DType::F32, &[N], Role::Out);
    let t = k.tasks(N / 8);
    let at = [&t * 8];
    let (v, w) = (k.load_vec(a, 8, &at), k.load_vec(b, 8, &at));
    let v = k.add(v, w);
    k.store(y, &at, v);
    let mut p = Program {
        name: "p".into(),
        target: X86_64_V2.name.into(),
        batch: 1,
        slots: Default::default(),
        kernels: vec![k.finish()],
        calls: Vec::new(),
        arena_bytes: 320,
        const_bytes: 64 + 4 * N as u64,
    };
    let spaces = [
        ("x", Space::Input(0)),
        ("w", Space::Const { offset: 64 }),
        ("t", Space::Arena { offset: 128, first: 0, last: 1 }),
        ("y", Space::Output(0)),
    ];
    let [x, w, t, y] = spaces.map(|(name, space)| {
        p.slots.push(SlotData { name: name.into(), dtype: DType::F32, dims: vec![N as u64], space })
    });
    let call =
        |args: &[_], node: &str| Call { kernel: 0, args: args.to_vec(), node: node.into(), op: "add".into(), macs: 0 };
    p.calls = vec![call(&[x, w, t], "t"), call(&[t, t, y], "y")];
    p
}

fn numbers(from: i32) -> Vec<u8> {
    (0..N as i32).flat_map(|i| ((from + i) as f32 * 0.3).to_le_bytes()).collect()
}

#[test]
fn a_program_gives_the_bits_of_the_interpreter() {
    let (p, x, w) = (program(), numbers(-7), numbers(90));
    let mut store = MemoryStore::default();
    let tensor = TensorData { dtype: DType::F32, shape: vec![N as u64], bytes: Cow::Owned(w.clone()) };
    store.insert("w", tensor);
    let expected = interp::program::run(&p, &[&x], &store).unwrap();
    // At an odd address, so that a copy is made, and where it may stay.
    let mut section = vec![0; 65];
    section.extend(&w);
    for constants in [Cow::Borrowed(&section[1..]), Cow::Owned(section[1..].to_vec())] {
        let aligned = AlignedBytes::copy_of(&constants);
        let object = load(&Cranelift, &p.kernels, &X86_64_V2).unwrap();
        let jit = Jit::new().unwrap();
        for mut run in
            [Execution::new(&jit, &p, &constants).unwrap(), Execution::with_kernels(object, &p, &aligned).unwrap()]
        {
            run.arena_mut().fill(0xff);
            run.input_mut(0).unwrap().copy_from_slice(&x);
            run.run();
            assert_eq!(run.output(0), Some(&expected[0][..]));
            let t = p.calls[0].args[2];
            assert_eq!(interp::decode(DType::F32, run.bytes(t))[0], f64::from(-7.0 * 0.3f32 + 90.0 * 0.3f32));
            assert!(run.output(1).is_none() && run.input_mut(1).is_none());
        }
    }
}

#[test]
fn calls_that_leave_their_memory_are_refused() {
    let jit = Jit::new().unwrap();
    let constants = AlignedBytes::zeroed(program().const_bytes as usize);
    let refused = |what: &str, len: usize, break_it: &dyn Fn(&mut Program)| {
        let mut p = program();
        break_it(&mut p);
        let e = Execution::new(&jit, &p, &constants[..len]).err().unwrap_or_else(|| panic!("{what} is accepted"));
        assert_eq!(e.0[0].code, "E0704", "{what}");
    };
    let len = constants.len();
    let slot = |p: &Program, call: usize, arg: usize| p.calls[call].args[arg];
    refused("short weights", len - 1, &|_| ());
    refused("an arena that ends before a slot", len, &|p| p.arena_bytes = 256);
    refused("weights that end before a slot", len, &|p| p.const_bytes = 64);
    refused("an offset that overflows", len, &|p| {
        let t = slot(p, 0, 2);
        p.slots[t].space = Space::Arena { offset: u64::MAX - 63, first: 0, last: 1 };
    });
    refused("a slot at an odd place", len, &|p| {
        let t = slot(p, 0, 2);
        p.slots[t].space = Space::Arena { offset: 4, first: 0, last: 1 };
    });
    refused("a slot that is too small", len, &|p| {
        let t = slot(p, 0, 2);
        p.slots[t].dims = vec![N as u64 - 1];
    });
    refused("a write to the input", len, &|p| p.calls[0].args[2] = slot(p, 0, 0));
    refused("a write to the weights", len, &|p| p.calls[0].args[2] = slot(p, 0, 1));
    refused("too few arguments", len, &|p| p.calls[0].args.truncate(2));
    refused("a kernel that is not there", len, &|p| p.calls[1].kernel = 1);
}

#[test]
fn code_of_another_program_is_refused() {
    let (p, mut other) = (program(), program());
    other.kernels[0].name = "sum".into();
    let constants = AlignedBytes::zeroed(p.const_bytes as usize);
    let kernels = Jit::new().unwrap().kernels(&other.kernels).unwrap();
    assert_eq!(Execution::with_kernels(kernels, &p, &constants).err().unwrap().0[0].code, "E0704");
}
