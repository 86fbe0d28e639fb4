/* A C host of a network that trains: reads CIFAR-10 files, subtracts the mean picture, and takes steps in a given order
 * of pictures. All memory is static: the header states every size as a constant. */
#include "net.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = NET_CHANNELS * NET_HEIGHT * NET_WIDTH, RECORD = 1 + PIXELS, MOST = 1024, THREADS = 3 };

static uint8_t records[MOST][RECORD];
static float mean[PIXELS], x[NET_BATCH * PIXELS], y[NET_BATCH * NET_CLASSES];
static int32_t labels[NET_BATCH];
static uint8_t saved[NET_SAVED_BYTES];
static _Alignas(NET_ALIGN) float halves[2][NET_STATE_BYTES / sizeof(float)];
static _Alignas(NET_ALIGN) float gradients[NET_GRADIENT_BYTES / sizeof(float)];
static _Alignas(NET_ALIGN) char arena[NET_ARENA_BYTES(THREADS)];

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void check(int status, const char *what) {
    if (status != 0) {
        fprintf(stderr, "%s: %s\n", what, net_strerror(status));
        exit(1);
    }
}

/* A thread for each index. */
struct job {
    void (*f)(void *, uint32_t);
    void *arg;
    uint32_t i;
};

static void *work(void *p) {
    struct job *j = p;
    j->f(j->arg, j->i);
    return NULL;
}

static void run(void *ctx, uint32_t n, void (*f)(void *, uint32_t), void *arg) {
    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    (void)ctx;
    for (uint32_t i = 0; i < n; i++) {
        jobs[i] = (struct job){f, arg, i};
        if (pthread_create(&threads[i], NULL, work, &jobs[i]) != 0) fail("no thread");
    }
    for (uint32_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

static size_t read_file(const char *path, void *to, size_t most) {
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(to, 1, most, f) : 0;
    if (!f || ferror(f)) fail(path);
    fclose(f);
    return n;
}

static void write_file(const char *path, const void *from, size_t bytes) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(from, 1, bytes, f) != bytes || fclose(f) != 0) fail(path);
}

static void fill_batch(const uint32_t *order) {
    for (int i = 0; i < NET_BATCH; i++) {
        const uint8_t *record = records[order[i]];
        labels[i] = record[0];
        for (int p = 0; p < PIXELS; p++) x[i * PIXELS + p] = (float)record[1 + p] / 255.0f - mean[p];
    }
}

/* What a batch leaves in the running statistics: a step takes a tenth of it, recalibration all of it. */
static void check_recalibration(net_state_t *state, const net_par_t *par) {
    const net_tensor_t *t = net_tensors();
    float loss;
    float *before = state->now;
    check(net_step(state, x, labels, 0.0f, &loss, arena, sizeof arena, par), "step");
    /* Go back, and recalibrate what the step began with. */
    state->next = state->now;
    state->now = before;
    static float old[NET_STATE_BYTES / sizeof(float)], stepped[NET_STATE_BYTES / sizeof(float)];
    memcpy(old, state->now, sizeof old);
    memcpy(stepped, state->next, sizeof stepped);
    check(net_recalibrate(state, x, 0, arena, sizeof arena, par), "recalibrate");
    int statistics = 0;
    for (int i = 0; i < NET_TENSORS; i++) {
        for (uint64_t e = t[i].offset; e < t[i].offset + t[i].elements; e++) {
            if (t[i].kind != NET_STATISTIC) {
                if (memcmp(&state->now[e], &old[e], sizeof old[e]) != 0) fail("recalibration changes a parameter");
                continue;
            }
            double whole = ((double)stepped[e] - 0.9 * old[e]) / 0.1, found = state->now[e];
            if (fabs(found - whole) > 1e-4 * (fabs(whole) + 10.0 * fabs(old[e]) + 0.01)) fail(t[i].name);
            statistics++;
        }
    }
    if (statistics == 0) fail("there are no statistics");
}

int main(int argc, char **argv) {
    static uint32_t order[1 << 16];
    char path[4096];
    if (argc != 7) fail("usage: train DATA ORDER LR THREADS STATE.safetensors LOGITS.raw");
    if (net_abi_version() != NET_ABI) fail("the library is of another version than its header");
    size_t images = 0, most = sizeof order / sizeof *order;
    for (int i = 1; i <= 5; i++) {
        snprintf(path, sizeof path, "%s/data_batch_%d.bin", argv[1], i);
        images += read_file(path, records[images], (MOST - images) * RECORD) / RECORD;
    }
    for (int p = 0; p < PIXELS; p++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < images; i++) sum += records[i][1 + p];
        mean[p] = (float)((double)sum / (double)images / 255.0);
    }
    size_t steps = read_file(argv[2], order, most * sizeof *order) / sizeof *order / NET_BATCH;
    float lr = strtof(argv[3], NULL), loss;
    net_par_t threads = {NULL, (uint32_t)atoi(argv[4]), run};
    const net_par_t *par = threads.threads > 1 ? &threads : NULL;
    if (threads.threads > THREADS || net_arena_bytes(threads.threads) > NET_ARENA_BYTES(threads.threads)) fail("arena");

    net_state_t state = {halves[0], halves[1]};
    check(net_init(&state), "init");
    for (size_t s = 0; s < steps; s++) {
        fill_batch(order + s * NET_BATCH);
        if (s % 3 == 2) { /* by parts */
            check(net_grad(&state, x, labels, gradients, &loss, arena, sizeof arena, par), "grad");
            check(net_apply(&state, gradients, lr, arena, sizeof arena, par), "apply");
        } else {
            check(net_step(&state, x, labels, lr, &loss, arena, sizeof arena, par), "step");
        }
        if (s % 10 == 9) { /* saved, lost, restored */
            check(net_save(&state, saved, sizeof saved), "save");
            memset(halves, 0xff, sizeof halves);
            check(net_restore(&state, saved, sizeof saved), "restore");
        }
    }
    check(net_save(&state, saved, sizeof saved), "save");
    write_file(argv[5], saved, sizeof saved);
    printf("%.9g\n", loss);

    /* What is refused leaves the state as it was. */
    labels[0] = NET_CLASSES;
    if (net_step(&state, x, labels, lr, &loss, arena, sizeof arena, par) != -8) fail("a label out of range is taken");
    labels[0] = 0;
    x[5] = INFINITY;
    if (net_step(&state, x, labels, lr, &loss, arena, sizeof arena, par) != -10) fail("an infinite loss is taken");
    saved[NET_SAVED_BYTES / 2] ^= 1;
    if (net_restore(&state, saved, sizeof saved) != -11) fail("a damaged state is taken");
    saved[NET_SAVED_BYTES / 2] ^= 1;
    static uint8_t again[NET_SAVED_BYTES];
    check(net_save(&state, again, sizeof again), "save");
    if (memcmp(again, saved, sizeof saved) != 0) fail("a refusal has changed the state");

    fill_batch(order);
    uint32_t n = NET_BATCH / NET_PREDICT_BATCH * NET_PREDICT_BATCH;
    check(net_predict(&state, x, y, n, arena, sizeof arena, par), "predict");
    write_file(argv[6], y, n * NET_CLASSES * sizeof *y);
    check_recalibration(&state, par);
    return 0;
}
