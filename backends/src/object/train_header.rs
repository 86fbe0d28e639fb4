//! `P.h` of a library that trains: the C API, every size as a constant, and the layout of the state.

use super::header::comment;
use super::train::{CODES, TensorKind, TrainDesc};
use super::{ABI, JOB_BYTES};
use std::fmt::Write;

/// The header's text. Its comment is a complete program, in which [`named_header`](super::named_header) names files.
pub fn train_header(t: &TrainDesc) -> String {
    let [channels, height, width] = t.input;
    let [arena_fixed, arena_thread] = arena(t);
    let numbers = [
        ("@ABI@", ABI.into()),
        ("@BATCH@", t.batch.into()),
        ("@PREDICT@", t.codes[PREDICT].group.into()),
        ("@C@", channels.into()),
        ("@H@", height.into()),
        ("@W@", width.into()),
        ("@CLASSES@", t.classes.into()),
        ("@STATE@", t.state_bytes()),
        ("@GRADIENTS@", t.gradient_bytes()),
        ("@SAVED@", t.saved_bytes()),
        ("@ARENA@", arena_fixed),
        ("@THREAD@", arena_thread),
        ("@TENSORS@", t.tensors.len() as u64),
        ("@PARAMETERS@", t.parameter_bytes / 4),
    ];
    let mut text = TEMPLATE
        .replace("@NAME@", &comment(t.name))
        .replace("@VERSION@", &comment(t.version))
        .replace("@TARGET@", &comment(t.target))
        .replace("@OPTIONS@", &comment(&t.options))
        .replace("@LIST@", &list(t))
        .replace("@P@", t.prefix)
        .replace("@UPPER@", &t.prefix.to_ascii_uppercase());
    for (name, n) in numbers {
        text = text.replace(name, &n.to_string());
    }
    text
}

const PREDICT: usize = CODES.len() - 1;

/// Bytes of arena that suffice for every program: fixed ones, and for each thread. As `runtime::arena` lays it out.
fn arena(t: &TrainDesc) -> [u64; 2] {
    let most = |f: &dyn Fn(&super::CodeDesc) -> u64| t.codes.iter().map(f).max().unwrap_or(0);
    let lines = most(&|c| 64 * c.calls.len() as u64);
    let scratch = most(&|c| c.scratch_bytes.next_multiple_of(64));
    [most(&|c| c.arena_bytes.next_multiple_of(64)) + JOB_BYTES + lines, scratch + lines]
}

/// Parameters and statistics, a line each.
fn list(t: &TrainDesc) -> String {
    let mut tensors: Vec<_> = t.tensors.iter().filter(|t| t.kind != TensorKind::Momentum).collect();
    tensors.sort_by_key(|t| t.offset);
    let mut text = String::new();
    for tensor in tensors {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        let what = if tensor.kind == TensorKind::Statistic { ", a statistic" } else { "" };
        let _ = writeln!(text, " *   {:>9}  {} [{}]{what}", tensor.offset / 4, comment(&tensor.name), shape.join(","));
    }
    text
}

const TEMPLATE: &str = r#"/* Training of @NAME@, compiled by rescc @VERSION@ for @TARGET@:
 * @OPTIONS@.
 *
 * A complete program, with one thread; as main.c it is built by `cc main.c @STEM@.a`:
 *
 *   #include "@FILE@"
 *   #include <stdio.h>
 *   #include <stdlib.h>
 *
 *   static float x[@UPPER@_BATCH * @UPPER@_CHANNELS * @UPPER@_HEIGHT * @UPPER@_WIDTH];
 *   static int32_t labels[@UPPER@_BATCH];
 *
 *   int main(void) {
 *     size_t bytes = @UPPER@_ARENA_BYTES(1);
 *     void *arena = aligned_alloc(@UPPER@_ALIGN, bytes);
 *     @P@_state_t state;
 *     float loss;
 *     int i, status;
 *     state.now = aligned_alloc(@UPPER@_ALIGN, @UPPER@_STATE_BYTES);
 *     state.next = aligned_alloc(@UPPER@_ALIGN, @UPPER@_STATE_BYTES);
 *     if (@P@_abi_version() != @UPPER@_ABI || !arena || !state.now || !state.next) return 1;
 *     status = @P@_init(&state);
 *     for (i = 0; i < 10 && status == 0; i++) {
 *       status = @P@_step(&state, x, labels, 0.1f, &loss, arena, bytes, NULL);
 *       if (status == 0) printf("%g\n", loss);
 *     }
 *     if (status != 0) fprintf(stderr, "%s\n", @P@_strerror(status));
 *     return status != 0;
 *   }
 *
 * No function allocates, prints, aborts, reads or writes files, or keeps a pointer after it returns. Any number of
 * calls may run at once, each with its own arena and on its own state. The bits of all results depend neither on the
 * number of threads nor on addresses.
 */
#ifndef @UPPER@_H
#define @UPPER@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @UPPER@_ABI @ABI@
#define @UPPER@_BATCH @BATCH@           /* images of a step */
#define @UPPER@_PREDICT_BATCH @PREDICT@   /* images of @P@_predict are a multiple of it */
#define @UPPER@_CHANNELS @C@
#define @UPPER@_HEIGHT @H@
#define @UPPER@_WIDTH @W@
#define @UPPER@_CLASSES @CLASSES@

#define @UPPER@_ALIGN 64                /* alignment of arena, states and gradients */
#define @UPPER@_STATE_BYTES @STATE@      /* a half of the state */
#define @UPPER@_GRADIENT_BYTES @GRADIENTS@
#define @UPPER@_SAVED_BYTES @SAVED@      /* a saved state */
/* Suffices for every function with that many threads, at most 64; a multiple of 64. */
#define @UPPER@_ARENA_BYTES(threads) ((size_t)@ARENA@ + (size_t)(threads) * @THREAD@)

/* Equal to @UPPER@_ABI, or header and library do not belong together. */
uint32_t @P@_abi_version(void);

/* The state: two halves of @UPPER@_STATE_BYTES, both the caller's. @P@_step and @P@_apply read `now`,
 * write `next`, and exchange the two pointers if all is well. @P@_init, @P@_recalibrate and @P@_restore change
 * `now` itself; @P@_recalibrate computes in `next`. If a function fails, `now` is as it was and `next` is undefined.
 *
 * In a half lie, by their first element:
@LIST@ * and @PARAMETERS@ elements after each parameter its momentum. Between tensors there may be gaps.
 * Gradients lie as the parameters do; the batch's new statistics follow, where momenta begin in a state. So a mean of
 * several arrays of gradients, element by element, is that of gradients and of statistics. */
typedef struct {
  float *now, *next;
} @P@_state_t;

/* The same as a table, in the order in which @P@_save writes them. Names are those of the weights file, with
 * ".momentum" for momenta. */
#define @UPPER@_TENSORS @TENSORS@
#define @UPPER@_PARAMETER 0
#define @UPPER@_MOMENTUM 1
#define @UPPER@_STATISTIC 2
typedef struct {
  const char *name;
  uint64_t offset, elements;      /* in f32 elements */
  uint32_t shape[4], rank, kind;
} @P@_tensor_t;

const @P@_tensor_t *@P@_tensors(void);

/* The caller's threads. `run` must call f(arg, i) once for every i in 0..n and return when all have returned;
 * best on n threads at once, as the parts of a step wait for each other. At most 64 threads are used. */
typedef struct {
  void *ctx;
  uint32_t threads;
  void (*run)(void *ctx, uint32_t n, void (*f)(void *arg, uint32_t i), void *arg);
} @P@_par_t;

/* As @UPPER@_ARENA_BYTES, to the byte. */
size_t @P@_arena_bytes(uint32_t threads);

/* All functions below return 0, or
 *   -1   a null argument; only `par` may be NULL: the calling thread alone
 *   -2   the arena, or the memory of a saved state, is too small
 *   -3   arena, state or gradients are not aligned to @UPPER@_ALIGN, or another array not to 4 bytes
 *   -4   the number of images is 0 or no multiple of @UPPER@_PREDICT_BATCH
 *   -5   this CPU lacks instructions that the network was compiled for
 *   -8   a label is not in 0..@UPPER@_CLASSES
 *   -9   `run` returned before every index ran
 *   -10  the loss, or a statistic, is not finite
 *   -11  the saved state is damaged or of another network
 * and leave `now` as it was if that is not 0. Images are x[batch][channels][height][width]. No two arrays may
 * overlap. */

/* now = the weights that the library was made with; momenta are 0. */
int @P@_init(@P@_state_t *state);

/* One step of stochastic gradient descent; *loss is the mean over the batch. */
int @P@_step(@P@_state_t *state, const float *x, const int32_t *labels, float lr, float *loss, void *arena,
             size_t arena_bytes, const @P@_par_t *par);

/* Its two parts, for gradients that are summed over several batches or machines. */
int @P@_grad(const @P@_state_t *state, const float *x, const int32_t *labels, float *gradients, float *loss,
             void *arena, size_t arena_bytes, const @P@_par_t *par);
int @P@_apply(@P@_state_t *state, const float *gradients, float lr, void *arena, size_t arena_bytes,
              const @P@_par_t *par);

/* Batch norm's running statistics become the mean of those of this batch and of `before` earlier ones: call it with
 * before = 0, 1, 2, ... on a few batches after training. A network without batch norm stays as it is. */
int @P@_recalibrate(@P@_state_t *state, const float *x, uint32_t before, void *arena, size_t arena_bytes,
                    const @P@_par_t *par);

/* y[images][classes] = the output of the network, by the running statistics. */
int @P@_predict(const @P@_state_t *state, const float *x, float *y, uint32_t images, void *arena, size_t arena_bytes,
                const @P@_par_t *par);

/* Writes @UPPER@_SAVED_BYTES: a .safetensors file with all tensors of `now`; bytes need no alignment. */
int @P@_save(const @P@_state_t *state, void *bytes, size_t size);

/* now = what @P@_save wrote. */
int @P@_restore(@P@_state_t *state, const void *bytes, size_t size);

/* What a result means. Never NULL. */
const char *@P@_strerror(int status);

#ifdef __cplusplus
}
#endif

#endif
"#;
