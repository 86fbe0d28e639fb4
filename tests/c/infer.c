/* A C host of a compiled model: reads f32 images, writes their outputs. No threads, one arena of its own. */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: host X.raw Y.raw\n");
        return 2;
    }
    if (net_abi_version() != NET_ABI) {
        fprintf(stderr, "the library is of another version than its header\n");
        return 1;
    }
    FILE *in = fopen(argv[1], "rb");
    if (!in) {
        perror(argv[1]);
        return 3;
    }
    enum { MOST = 16 * 3 * 32 * 32 };
    static float x[MOST], y[16 * 10];
    uint32_t images = (uint32_t)(fread(x, sizeof *x, MOST, in) / (3 * 32 * 32));
    fclose(in);

    size_t bytes = net_arena_bytes(images, 1);
    /* One page more, so that an aligned arena fits. */
    char *memory = malloc(bytes + net_arena_align());
    if (!bytes || !memory) {
        fprintf(stderr, "no arena for %u images\n", (unsigned)images);
        return 6;
    }
    char *arena = memory + (net_arena_align() - (size_t)memory % net_arena_align()) % net_arena_align();
    int status = net_infer(x, y, images, arena, bytes, NULL);
    free(memory);
    if (status != 0) {
        fprintf(stderr, "net_infer: %s\n", net_strerror(status));
        return 1;
    }
    FILE *out = fopen(argv[2], "wb");
    if (!out || fwrite(y, sizeof *y, images * 10u, out) != images * 10u || fclose(out) != 0) {
        perror(argv[2]);
        return 5;
    }
    return 0;
}
