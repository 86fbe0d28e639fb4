//! Training as functions: what they do to a state of the caller, and what leaves it as it was.

use super::model::{arg, call, model};
use crate::abi::*;
use crate::train::{self, *};
use std::ptr::{null, null_mut};

/// 64 bytes: the parameter w (2 elements), its momentum, the statistic s (1 element).
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Half([[f32; 16]; 3]);

const ZERO: Half = Half([[0.0; 16]; 3]);
const HASH_AT: usize = 6;
static HEADER: &[u8; 24] = b"begin:0000000000000000\n\n";

/// One batch is one image of 2 elements.
struct Net(Train);

fn end(number: usize, is_input: bool, bytes: u64) -> Arg {
    let space = if is_input { SPACE_INPUT } else { SPACE_OUTPUT };
    Arg { index: number as u32, ..arg(space, bytes) }
}

impl Net {
    fn new() -> Net {
        let code = |kernel, args: Vec<Arg>| model(vec![call(kernel, args, 1, false)], 64, 0).code;
        let batch = [end(X, true, 0), end(RATE, true, 0), end(STATE, true, 0), end(RESULT, false, 0)];
        let tensor = |name: &'static [u8], offset, elements, kind| Tensor {
            name: name.as_ptr(),
            offset,
            elements,
            shape: [elements as u32, 1, 1, 1],
            rank: 1,
            kind,
        };
        let tensors = vec![tensor(b"s\0", 32, 1, 2), tensor(b"w\0", 0, 2, 0), tensor(b"w.momentum\0", 16, 2, 1)].leak();
        let initial = Box::leak(Box::new([[0.0f32; 16]; 2]));
        (initial[0][0], initial[0][1], initial[1][0]) = (1.0, 2.0, 3.0);
        Net(Train {
            abi: ABI,
            batch: 1,
            classes: 4,
            n_tensors: 3,
            image: 2,
            parameter_bytes: 64,
            statistic_bytes: 64,
            initial: initial.as_ptr().cast(),
            tensors: tensors.as_ptr(),
            header: HEADER.as_ptr(),
            header_bytes: HEADER.len() as u64,
            hash_at: HASH_AT as u64,
            codes: [
                code(step_kernel, [&batch[..], &[end(NEXT, false, 0)]].concat()),
                code(grad_kernel, [&batch[..1], &[end(RESULT, false, 0), end(NEXT, false, 0)]].concat()),
                code(
                    apply_kernel,
                    vec![end(RATE, true, 0), end(STATE, true, 0), end(GRADIENTS, true, 0), end(NEXT, false, 0)],
                ),
                code(statistics_kernel, vec![end(X, true, 0), end(NEXT, false, 128)]),
                code(predict_kernel, vec![end(X, true, 0), end(STATE, true, 0), end(RESULT, false, 0)]),
            ],
        })
    }
}

/// w ← w − lr·x, its momentum 7, s and the loss x₀.
unsafe extern "C" fn step_kernel(p: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as `Net` lays the parameters out; all are of f32.
    unsafe {
        let [x, lr, now, loss, next] = std::array::from_fn(|i| (*p.add(i)).cast::<f32>());
        for i in 0..2 {
            *next.add(i) = *now.add(i) - *lr * *x.add(i);
            *next.add(16 + i) = 7.0;
        }
        (*next.add(32), *loss) = (*x, *x);
    }
}

unsafe extern "C" fn grad_kernel(p: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as above.
    unsafe {
        let [x, loss, gradients] = std::array::from_fn(|i| (*p.add(i)).cast::<f32>());
        (*gradients, *gradients.add(1)) = (*x, *x.add(1));
        (*gradients.add(16), *loss) = (*x, *x);
    }
}

unsafe extern "C" fn apply_kernel(p: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as above.
    unsafe {
        let [lr, now, gradients, next] = std::array::from_fn(|i| (*p.add(i)).cast::<f32>());
        for i in 0..2 {
            *next.add(i) = *now.add(i) - *lr * *gradients.add(i);
            *next.add(16 + i) = 7.0;
        }
    }
}

unsafe extern "C" fn statistics_kernel(p: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as above.
    unsafe { *(*p.add(1)).cast::<f32>() = *(*p).cast::<f32>() }
}

/// Four logits: x₀·w₀ + x₁·w₁, and three of 0.
unsafe extern "C" fn predict_kernel(p: *const *mut u8, _: i64, _: i64, _: *mut u8) {
    // SAFETY: as above.
    unsafe {
        let [x, now, y] = std::array::from_fn(|i| (*p.add(i)).cast::<f32>());
        y.write_bytes(0, 4);
        *y = *x * *now + *x.add(1) * *now.add(1);
    }
}

/// A state, an arena and a loss.
struct Caller {
    halves: Box<[Half; 2]>,
    state: State,
    arena: Box<[Half; 4]>,
    loss: f32,
}

impl Caller {
    /// After `init`.
    fn new(net: &Net) -> Caller {
        let mut halves = Box::new([ZERO; 2]);
        halves.iter_mut().for_each(|h| h.0 = [[f32::NAN; 16]; 3]);
        let now = halves[0].0.as_mut_ptr().cast();
        let next = halves[1].0.as_mut_ptr().cast();
        let mut caller = Caller { halves, state: State { now, next }, arena: Box::new([ZERO; 4]), loss: 0.0 };
        // SAFETY: both halves are as large as the net's state.
        assert_eq!(unsafe { train::init(&net.0, &mut caller.state) }, OK);
        caller
    }

    fn means(&mut self) -> Means {
        Means { arena: self.arena.as_mut_ptr().cast(), len_bytes: size_of::<[Half; 4]>(), par: null() }
    }

    fn step(&mut self, net: &Net, x: [f32; 2], label: i32) -> i32 {
        let means = self.means();
        // SAFETY: sizes are the net's.
        unsafe { train::step(&net.0, &mut self.state, x.as_ptr(), &label, 0.5, &mut self.loss, means) }
    }

    /// w, its momentum, s.
    fn now(&self) -> [f32; 5] {
        let is_first = std::ptr::eq(self.state.now.cast_const().cast(), &self.halves[0]);
        let [w, v, s] = self.halves[usize::from(!is_first)].0;
        [w[0], w[1], v[0], v[1], s[0]]
    }
}

#[test]
fn a_step_exchanges_the_halves_if_all_is_well() {
    let net = Net::new();
    let mut c = Caller::new(&net);
    assert_eq!(c.now(), [1.0, 2.0, 0.0, 0.0, 3.0]);
    assert_eq!((c.step(&net, [4.0, 2.0], 3), c.loss), (OK, 4.0));
    assert_eq!(c.now(), [-1.0, 1.0, 7.0, 7.0, 4.0]);
    for x in [f32::NAN, f32::INFINITY] {
        assert_eq!(c.step(&net, [x, 0.0], 0), NOT_FINITE);
        assert_eq!(c.now(), [-1.0, 1.0, 7.0, 7.0, 4.0]);
    }
    for label in [-1, 4, i32::MIN, i32::MAX] {
        assert_eq!(c.step(&net, [4.0, 2.0], label), LABEL_OUT_OF_RANGE);
    }
    assert_eq!(c.now(), [-1.0, 1.0, 7.0, 7.0, 4.0]);
}

#[test]
fn gradients_and_their_application_are_a_step() {
    let net = Net::new();
    let (mut whole, mut parts) = (Caller::new(&net), Caller::new(&net));
    assert_eq!(whole.step(&net, [4.0, 2.0], 3), OK);
    let (x, label, mut gradients) = ([4.0f32, 2.0], 3, ZERO);
    let (g, means) = (gradients.0.as_mut_ptr().cast::<f32>(), parts.means());
    // SAFETY: sizes are the net's.
    unsafe {
        assert_eq!(train::grad(&net.0, &parts.state, x.as_ptr(), &label, g, &mut parts.loss, means), OK);
        assert_eq!(parts.now(), [1.0, 2.0, 0.0, 0.0, 3.0]);
        assert_eq!(train::apply(&net.0, &mut parts.state, g, 0.5, means), OK);
    }
    assert_eq!((parts.now(), parts.loss), (whole.now(), whole.loss));
}

#[test]
fn recalibration_is_the_mean_of_batches() {
    let net = Net::new();
    let mut c = Caller::new(&net);
    let means = c.means();
    let recalibrate = |c: &mut Caller, x: f32, before| {
        // SAFETY: sizes are the net's.
        unsafe { train::recalibrate(&net.0, &mut c.state, [x, 0.0].as_ptr(), before, means) }
    };
    for (i, x) in [8.0, 2.0, 5.0].into_iter().enumerate() {
        assert_eq!(recalibrate(&mut c, x, i as u32), OK);
    }
    assert_eq!(c.now(), [1.0, 2.0, 0.0, 0.0, 5.0]);
    assert_eq!(recalibrate(&mut c, f32::INFINITY, 3), NOT_FINITE);
    assert_eq!(c.now()[4], 5.0);
}

#[test]
fn images_are_predicted_one_group_after_another() {
    let net = Net::new();
    let mut c = Caller::new(&net);
    let means = c.means();
    let (x, mut y) = ([1.0f32, 1.0, 2.0, 0.5, 0.0, 3.0], [9.0f32; 12]);
    let mut predict = |images| {
        // SAFETY: sizes are the net's.
        unsafe { train::predict(&net.0, &c.state, x.as_ptr(), y.as_mut_ptr(), images, means) }
    };
    assert_eq!((predict(0), predict(3)), (BATCH_OUT_OF_RANGE, OK));
    assert_eq!([y[0], y[4], y[8], y[9]], [3.0, 3.0, 6.0, 0.0]);
}

#[test]
fn a_saved_state_comes_back_and_any_damage_is_found() {
    let net = Net::new();
    let mut c = Caller::new(&net);
    assert_eq!(c.step(&net, [4.0, 2.0], 3), OK);
    const BYTES: usize = HEADER.len() + 4 * 5;
    let mut bytes = [0u8; BYTES + 1];
    // SAFETY: lengths are those of the arrays.
    let mut save = |len| unsafe { train::save(&net.0, &c.state, bytes.as_mut_ptr(), len) };
    assert_eq!((save(BYTES - 1), save(BYTES)), (ARENA_TOO_SMALL, OK));
    let data: Vec<u8> = [4.0f32, -1.0, 1.0, 7.0, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(&bytes[HEADER.len()..BYTES], data);

    let mut other = Caller::new(&net);
    // SAFETY: likewise.
    let restore =
        |c: &mut Caller, bytes: &[u8]| unsafe { train::restore(&net.0, &mut c.state, bytes.as_ptr(), bytes.len()) };
    for bit in 0..8 * BYTES {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(restore(&mut other, &damaged[..BYTES]), STATE_WRONG, "bit {bit}");
    }
    for len in (0..BYTES).chain([BYTES + 1]) {
        assert_eq!(restore(&mut other, &bytes[..len]), STATE_WRONG, "{len} bytes");
    }
    assert_eq!(other.now(), [1.0, 2.0, 0.0, 0.0, 3.0]);
    assert_eq!(restore(&mut other, &bytes[..BYTES]), OK);
    assert_eq!(other.now(), c.now());
}

#[test]
fn every_wrong_argument_has_its_code() {
    let net = Net::new();
    let t = &net.0;
    let mut c = Caller::new(&net);
    let means = c.means();
    let (x, label, mut loss, mut y) = ([0.0f32; 2], 0, 0.0f32, [0.0f32; 4]);
    let (px, pl, ps): (*const f32, *const i32, *mut State) = (x.as_ptr(), &label, &mut c.state);
    let (loss, y): (*mut f32, *mut f32) = (&mut loss, y.as_mut_ptr());
    let mut half = ZERO;
    let half = half.0.as_mut_ptr().cast::<f32>();
    let mut crooked = State { now: half.wrapping_add(1), next: half };
    let mut lacking = State { now: half, next: null_mut() };
    let small = Means { len_bytes: train::arena_bytes(t, 1) - 1, ..means };
    // SAFETY: what is not null is valid; what is refused is not touched.
    unsafe {
        for s in [null_mut(), &raw mut lacking] {
            assert_eq!(train::init(t, s), NULL_ARGUMENT);
            assert_eq!(train::step(t, s, px, pl, 0.1, loss, means), NULL_ARGUMENT);
            assert_eq!(train::grad(t, s, px, pl, half, loss, means), NULL_ARGUMENT);
            assert_eq!(train::apply(t, s, half, 0.1, means), NULL_ARGUMENT);
            assert_eq!(train::recalibrate(t, s, px, 0, means), NULL_ARGUMENT);
            assert_eq!(train::predict(t, s, px, y, 1, means), NULL_ARGUMENT);
            assert_eq!(train::save(t, s, y.cast(), 16), NULL_ARGUMENT);
            assert_eq!(train::restore(t, s, y.cast(), 16), NULL_ARGUMENT);
        }
        assert_eq!(train::init(t, &mut crooked), MISALIGNED);
        assert_eq!(train::step(t, ps, null(), pl, 0.1, loss, means), NULL_ARGUMENT);
        assert_eq!(train::step(t, ps, px, null(), 0.1, loss, means), NULL_ARGUMENT);
        assert_eq!(train::step(t, ps, px, pl, 0.1, null_mut(), means), NULL_ARGUMENT);
        assert_eq!(train::step(t, ps, px.wrapping_byte_add(1), pl, 0.1, loss, means), MISALIGNED);
        assert_eq!(train::step(t, ps, px, pl, 0.1, loss, small), ARENA_TOO_SMALL);
        assert_eq!(train::step(t, ps, px, pl, 0.1, loss, Means { arena: null_mut(), ..means }), NULL_ARGUMENT);
        assert_eq!(train::grad(t, ps, px, pl, null_mut(), loss, means), NULL_ARGUMENT);
        assert_eq!(train::grad(t, ps, px, pl, half.wrapping_add(4), loss, means), MISALIGNED);
        assert_eq!(train::apply(t, ps, null(), 0.1, means), NULL_ARGUMENT);
        assert_eq!(train::apply(t, ps, half.wrapping_add(4), 0.1, means), MISALIGNED);
        assert_eq!(train::recalibrate(t, ps, null(), 0, means), NULL_ARGUMENT);
        assert_eq!(train::predict(t, ps, px, null_mut(), 1, means), NULL_ARGUMENT);
        assert_eq!(train::predict(t, ps, px, y.wrapping_byte_add(2), 1, means), MISALIGNED);
        assert_eq!(train::save(t, ps, null_mut(), 99), NULL_ARGUMENT);
        assert_eq!(train::restore(t, ps, null(), 99), NULL_ARGUMENT);
    }
    assert_eq!(c.now(), [1.0, 2.0, 0.0, 0.0, 3.0]);
}
