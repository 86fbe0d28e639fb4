/* Runs two models of one program, alone and on threads, and prints their outputs. */
#include "one.h"
#include "two.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x) \
  do { \
    if (!(x)) { \
      fprintf(stderr, "line %d: %s\n", __LINE__, #x); \
      exit(1); \
    } \
  } while (0)

typedef struct {
  void (*f)(void *arg, uint32_t i);
  void *arg;
  uint32_t i;
} job_t;

static void *work(void *p) {
  job_t *job = p;
  job->f(job->arg, job->i);
  return NULL;
}

/* The `run` of a par_t: one thread for each index. */
static void run(void *ctx, uint32_t n, void (*f)(void *arg, uint32_t i), void *arg) {
  pthread_t threads[8];
  job_t jobs[8];
  uint32_t i;
  CHECK(ctx == NULL && n <= 8);
  for (i = 0; i < n; i++) {
    jobs[i].f = f, jobs[i].arg = arg, jobs[i].i = i;
    CHECK(pthread_create(&threads[i], NULL, work, &jobs[i]) == 0);
  }
  for (i = 0; i < n; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void lazy(void *ctx, uint32_t n, void (*f)(void *arg, uint32_t i), void *arg) {
  (void)ctx, (void)n, (void)f, (void)arg;
}

#define MODEL(P, U) \
  static void P##_main(void) { \
    static float x[2 * U##_CHANNELS * U##_HEIGHT * U##_WIDTH], y[2 * U##_CLASSES], again[2 * U##_CLASSES]; \
    P##_par_t par = {NULL, 3, run}; \
    size_t i, bytes = P##_arena_bytes(2, 3); \
    char *arena = aligned_alloc(P##_arena_align(), bytes); \
    CHECK(P##_abi_version() == U##_ABI && P##_info()->classes == U##_CLASSES); \
    CHECK(P##_info()->batch_min == U##_BATCH && strcmp(P##_info()->name, #P) == 0); \
    for (i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)i; \
    CHECK(P##_infer(x, y, 2, arena, bytes, NULL) == 0); \
    memset(arena, 0xff, bytes); \
    CHECK(P##_infer(x, again, 2, arena, bytes, &par) == 0); \
    CHECK(memcmp(y, again, sizeof y) == 0); \
    CHECK(P##_infer(NULL, y, 2, arena, bytes, NULL) == -1); \
    CHECK(P##_infer(x, y, 2, arena, bytes - 1, &par) == -2); \
    CHECK(P##_infer(x, y, 2, arena + 4, bytes, NULL) == -3); \
    CHECK(P##_infer(x, y, 0, arena, bytes, NULL) == -4 && P##_arena_bytes(0, 1) == 0); \
    par.run = lazy; \
    CHECK(P##_infer(x, y, 2, arena, bytes, &par) == -9); \
    CHECK(strcmp(P##_strerror(0), P##_strerror(-9)) != 0); \
    for (i = 0; i < sizeof again / sizeof *again; i++) printf("%g ", again[i]); \
    printf("\n"); \
    free(arena); \
  }

MODEL(one, ONE)
MODEL(two, TWO)

int main(void) {
  one_main();
  two_main();
  return 0;
}
