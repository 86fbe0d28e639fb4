//! `P.h`: the C API of one model, for C99 and later and for C++.

use super::{ABI, ModelDesc};

/// The header's text. Its comment is a complete program.
pub fn header(m: &ModelDesc) -> String {
    let [channels, height, width] = m.input;
    let upper = m.prefix.to_ascii_uppercase();
    // What the model says about itself must not end the comment.
    let line = |s: &str| s.replace(['\n', '\r'], " ").replace("*/", "* /");
    TEMPLATE
        .replace("@NAME@", &line(m.name))
        .replace("@VERSION@", &line(m.version))
        .replace("@TARGET@", &line(m.target))
        .replace("@P@", m.prefix)
        .replace("@UPPER@", &upper)
        .replace("@ABI@", &ABI.to_string())
        .replace("@C@", &channels.to_string())
        .replace("@H@", &height.to_string())
        .replace("@W@", &width.to_string())
        .replace("@BATCH@", &m.batch.to_string())
        .replace("@CLASSES@", &m.classes.to_string())
}

const TEMPLATE: &str = r#"/* @NAME@, compiled by rescc @VERSION@ for @TARGET@.
 *
 * A complete program, with one thread; link it with lib@P@.a (or lib@P@.so):
 *
 *   #include "@P@.h"
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
 * best on n threads at once, as the parts of an inference wait for each other. */
typedef struct {
  void *ctx;
  uint32_t threads;
  void (*run)(void *ctx, uint32_t n, void (*f)(void *arg, uint32_t i), void *arg);
} @P@_par_t;

/* Memory that one inference needs; 0 if the batch is out of range. */
size_t @P@_arena_bytes(uint32_t batch, uint32_t threads);

/* Alignment of the arena. */
size_t @P@_arena_align(void);

/* y[batch][classes] = the model of x[batch][channels][height][width].
 * `par` may be NULL: the calling thread alone. x is only read; y and the arena must not overlap it or each other.
 * Returns 0, or
 *   -1  a null argument
 *   -2  the arena is smaller than @P@_arena_bytes(batch, threads)
 *   -3  the arena is not aligned to @P@_arena_align(), or x or y not to 4 bytes
 *   -4  the batch is out of range
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
