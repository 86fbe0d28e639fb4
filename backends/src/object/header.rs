//! `P.h`: the C API of one model, for C99 and later and for C++.

use super::{ABI, ModelDesc};
use std::fmt::Write;

/// Class names that a header lists at most.
const NAMES: usize = 12;

/// The header's text. Its comment is a complete program; [`named_header`] gives it the names of files.
pub fn header(m: &ModelDesc) -> String {
    let [channels, height, width] = m.input;
    let upper = m.prefix.to_ascii_uppercase();
    TEMPLATE
        .replace("@NAME@", &comment(m.name))
        .replace("@VERSION@", &comment(m.version))
        .replace("@TARGET@", &comment(m.target))
        .replace("@P@", m.prefix)
        .replace("@UPPER@", &upper)
        .replace("@ABI@", &ABI.to_string())
        .replace("@C@", &channels.to_string())
        .replace("@H@", &height.to_string())
        .replace("@W@", &width.to_string())
        .replace("@BATCH@", &m.batch.to_string())
        .replace("@CLASSES@", &m.classes.to_string())
        .replace("@ENDS@", &(picture(m) + &classes(m)))
}

/// A header as it is written to `file`: its comment names that, and the library beside it.
pub fn named_header(header: &str, file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    header.replace("@FILE@", &comment(file)).replace("@STEM@", &comment(stem))
}

/// What others say, as part of a comment that it must not end.
pub fn comment(text: &str) -> String {
    text.replace(char::is_control, " ").replace("*/", "* /").replace("/*", "/ *")
}

/// How a picture becomes `x`, as lines of a comment.
fn picture(m: &ModelDesc) -> String {
    let Some(p) = &m.preprocess else { return " * The model does not say how a picture becomes x.\n".into() };
    let [channels, height, width] = m.input;
    let resize = match p.resize {
        Some(side) => format!("resized to {side} pixels on its shorter side (bilinear, antialiased), "),
        None => String::new(),
    };
    let order = match (channels, p.bgr) {
        (3, true) => " (blue, green, red)",
        (3, false) => " (red, green, blue)",
        _ => "",
    };
    let numbers = |of: &[f32; 4]| {
        let shown: Vec<String> = of.iter().take(channels as usize).map(f32::to_string).collect();
        shown.join(", ")
    };
    let mean = match p.mean_tensor {
        Some(_) => "the model's mean of each pixel".to_string(),
        None => numbers(&p.mean),
    };
    format!(
        " * The model says that x is a picture, {resize}cut to its centre of {height} rows and {width} columns;\n \
         * its channels{order} are (byte / {} - mean) / std, where mean = {mean} and std = {}.\n",
        p.scale,
        numbers(&p.std)
    )
}

/// What the classes are called, as lines of a comment.
fn classes(m: &ModelDesc) -> String {
    if m.labels.is_empty() {
        return " * The model does not name the classes of y.\n".into();
    }
    let mut text = " * The classes of y are\n".to_string();
    for (i, name) in m.labels.iter().take(NAMES).enumerate() {
        let _ = writeln!(text, " *   {i:>3}  {}", comment(name));
    }
    let more = m.labels.len().saturating_sub(NAMES);
    if more > 0 {
        let _ = writeln!(text, " *        and {more} more");
    }
    text
}

const TEMPLATE: &str = r#"/* @NAME@, compiled by rescc @VERSION@ for @TARGET@.
 *
 * A complete program, with one thread; as main.c it is built by `cc main.c @STEM@.a`:
 *
 *   #include "@FILE@"
 *   #include <stdio.h>
 *   #include <stdlib.h>
 *
 *   int main(void) {
 *     static float x[@UPPER@_BATCH * @UPPER@_CHANNELS * @UPPER@_HEIGHT * @UPPER@_WIDTH];
 *     static float y[@UPPER@_BATCH * @UPPER@_CLASSES];
 *     size_t bytes = @P@_arena_bytes(@UPPER@_BATCH, 1);
 *     void *arena = aligned_alloc(@P@_arena_align(), bytes);
 *     int status;
 *     if (@P@_abi_version() != @UPPER@_ABI || arena == NULL) return 1;
 *     status = @P@_infer(x, y, @UPPER@_BATCH, arena, bytes, NULL);
 *     if (status != 0) {
 *       fprintf(stderr, "%s\n", @P@_strerror(status));
 *       return 1;
 *     }
 *     printf("%g\n", y[0]);
 *     free(arena);
 *     return 0;
 *   }
 *
 * No function allocates, prints, aborts or keeps a pointer after it returns. Any number of calls may run at once,
 * each with its own arena. Results depend neither on the number of threads nor on the arena's address.
 */
#ifndef @UPPER@_H
#define @UPPER@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @UPPER@_ABI @ABI@
#define @UPPER@_BATCH @BATCH@       /* images of one run; larger batches must be multiples of it */
#define @UPPER@_CHANNELS @C@
#define @UPPER@_HEIGHT @H@
#define @UPPER@_WIDTH @W@
#define @UPPER@_CLASSES @CLASSES@   /* f32 elements of the output for one image */

/* Equal to @UPPER@_ABI, or header and library do not belong together. */
uint32_t @P@_abi_version(void);

typedef struct {
  const char *name, *version, *target;
  uint64_t macs, params;            /* multiply-adds of one image; weights of the network as it was written */
  uint32_t batch_min, batch_max;    /* every multiple of batch_min up to batch_max */
  uint32_t classes, n_inputs, n_outputs, n_taps;
  uint8_t weights_sha256[32];
} @P@_info_t;

const @P@_info_t *@P@_info(void);

/* The caller's threads. `run` must call f(arg, i) once for every i in 0..n and return when all have returned;
 * best on n threads at once, as the parts of an inference wait for each other. At most 64 threads are used. */
typedef struct {
  void *ctx;
  uint32_t threads;
  void (*run)(void *ctx, uint32_t n, void (*f)(void *arg, uint32_t i), void *arg);
} @P@_par_t;

/* Memory that one inference needs; 0 if the batch is 0 or no multiple of @UPPER@_BATCH. */
size_t @P@_arena_bytes(uint32_t batch, uint32_t threads);

/* Alignment of the arena. */
size_t @P@_arena_align(void);

/* y[batch][classes] = the model of x[batch][channels][height][width].
@ENDS@ *
 * `par` may be NULL: the calling thread alone. x is only read; y and the arena must not overlap it or each other.
 * Returns 0, or
 *   -1  a null argument
 *   -2  the arena is smaller than @P@_arena_bytes(batch, threads)
 *   -3  the arena is not aligned to @P@_arena_align(), or x or y not to 4 bytes
 *   -4  the batch is 0 or no multiple of @UPPER@_BATCH
 *   -5  this CPU lacks instructions that the model was compiled for
 *   -9  `run` returned before every index ran */
int @P@_infer(const float *x, float *y, uint32_t batch, void *arena, size_t arena_bytes, const @P@_par_t *par);

/* What a result of @P@_infer means. Never NULL. */
const char *@P@_strerror(int status);

#ifdef __cplusplus
}
#endif

#endif
"#;
