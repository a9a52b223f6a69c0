/* Times single ggml kernels, called directly from the libraries that llama-cpp-python installs.
 *
 * bench_peers.py compiles it:   cc -O2 -shared -fPIC -pthread bench_ggml.c -o bench_ggml.so -ldl
 * and calls one function:       double bench_ggml(libs, kernel, threads, bytes, repeats)
 * which returns the seconds that `repeats` passes over `bytes` of weights took on `threads` threads, or -1. The kernel "read"
 * is none of ggml's: it reads them and does nothing else.
 *
 * Weights lie on huge pages, each thread has a stretch of its own, and rows have 2048 (in cache) or 4096 values: the
 * places and the shapes of `twinpath bench --only gemv`. Coding of the activations is not counted here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void (*dot_fn)(int n, float *s, size_t bs, const void *x, size_t bx, const void *y, size_t by, int nrc);
typedef void (*gemv_fn)(int n, float *s, size_t bs, const void *x, const void *y, int nr, int nc);
typedef void (*quant_fn)(const float *x, void *y, int64_t n);
typedef void (*dequant_fn)(const void *x, float *y, int64_t n);

enum { Q4_K = 144, Q6_K = 210, Q8_K = 292, BLOCK = 256, POSITIONS = 64 };

static void *cpu_lib, *base_lib;

static void *find(const char *name) {
    void *f = cpu_lib ? dlsym(cpu_lib, name) : NULL;
    return f ? f : (base_lib ? dlsym(base_lib, name) : NULL);
}

static int open_libs(const char *folder) {
    char path[4096];
    if (cpu_lib) return 0;
    snprintf(path, sizeof path, "%s/libggml-base.so", folder);
    base_lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    snprintf(path, sizeof path, "%s/libggml-cpu.so", folder);
    cpu_lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!cpu_lib) { fprintf(stderr, "%s\n", dlerror()); return -1; }
    void (*init)(void) = (void (*)(void))dlsym(cpu_lib, "ggml_cpu_init");
    if (init) init(); /* fills the table of f16 values */
    return 0;
}

struct part {
    const char *kernel;
    void *f;
    const uint8_t *weights;
    size_t bytes; /* of this part */
    int cols, block, repeats;
    pthread_barrier_t *gate;
    double *begin, *end;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

typedef uint64_t line __attribute__((vector_size(64)));

static void read_all(const uint8_t *from, size_t bytes) {
    line any = {0};
    for (size_t i = 0; i + sizeof any <= bytes; i += sizeof any) any |= *(const line *)(from + i);
    uint64_t kept = any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7];
    __asm__ volatile("" : : "r"(kept) : "memory"); /* for the compiler it is used, and the next pass may find other bytes */
}

static void once(const struct part *p, const uint8_t *y, float *s, float *values, float *x) {
    if (!p->f) return read_all(p->weights, p->bytes);
    size_t row = (size_t)p->cols / BLOCK * p->block;
    int rows = (int)(p->bytes / row / 8 * 8);
    if (strstr(p->kernel, "vec_dot"))
        for (int r = 0; r < rows; r++) ((dot_fn)p->f)(p->cols, s, 0, p->weights + r * row, 0, y, 0, 1);
    else if (strstr(p->kernel, "gemv"))
        ((gemv_fn)p->f)(p->cols, s, rows, p->weights, y, 1, rows);
    else if (strstr(p->kernel, "gemm"))
        ((gemv_fn)p->f)(p->cols, s, rows, p->weights, y, POSITIONS, rows);
    else if (strstr(p->kernel, "dequantize"))
        ((dequant_fn)p->f)(p->weights, values, (int64_t)(p->bytes / p->block) * BLOCK);
    else
        ((quant_fn)p->f)(x, (void *)(uintptr_t)y, p->cols);
}

static void *work(void *arg) {
    struct part *p = arg;
    size_t codes = (size_t)p->cols / BLOCK * Q8_K * POSITIONS;
    uint8_t *y = aligned_alloc(64, (codes + 63) / 64 * 64);
    size_t row = (size_t)p->cols / BLOCK * p->block;
    float *s = calloc((p->bytes / row + 8) * POSITIONS, sizeof *s);
    float *x = malloc(p->cols * sizeof *x);
    float *values = aligned_alloc(64, p->bytes / p->block * BLOCK * sizeof *values);
    for (int i = 0; i < p->cols; i++) x[i] = (float)((i * 7919) % 2001 - 1000) / 1000.0f;
    quant_fn quantize = (quant_fn)find("quantize_row_q8_K");
    for (int t = 0; t < POSITIONS; t++) quantize(x, y + (size_t)t * p->cols / BLOCK * Q8_K, p->cols);
    once(p, y, s, values, x);
    pthread_barrier_wait(p->gate);
    *p->begin = now();
    for (int i = 0; i < p->repeats; i++) once(p, y, s, values, x);
    *p->end = now();
    free(y), free(s), free(x), free(values);
    return NULL;
}

static uint8_t *weights;
static size_t held;

/* Bytes that are sound blocks of either type: no f16 among them is infinite or NaN. */
static int hold(size_t bytes) {
    if (bytes <= held) return 0;
    if (weights) munmap(weights, held);
    size_t huge = 2 << 20, len = (bytes + huge - 1) / huge * huge;
    weights = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (weights == MAP_FAILED) { weights = NULL, held = 0; return -1; }
    madvise(weights, len, MADV_HUGEPAGE);
    uint64_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        weights[i] = (state >> 56) & 0x3b; /* exponents stay small */
    }
    held = len;
    return 0;
}

double bench_ggml(const char *libs, const char *kernel, int threads, size_t bytes, int cols, int repeats) {
    if (threads < 1 || threads > 256 || open_libs(libs) || hold(bytes)) return -1;
    int reads = !strcmp(kernel, "read"); /* of that name libc has a function */
    void *f = reads ? NULL : find(kernel);
    if (!f && !reads) return -1;
    pthread_t ids[256];
    struct part parts[256];
    double begin[256], end[256];
    pthread_barrier_t gate;
    pthread_barrier_init(&gate, NULL, threads);
    int block = strstr(kernel, "q6_K") ? Q6_K : Q4_K;
    size_t row = (size_t)cols / BLOCK * block * 8, each = bytes / threads / row * row;
    if (!each) return -1;
    for (int t = 0; t < threads; t++) {
        parts[t] = (struct part){kernel, f, weights + t * each, each, cols, block, repeats, &gate, begin + t, end + t};
        pthread_create(ids + t, NULL, work, parts + t);
    }
    double first = 1e300, last = 0;
    for (int t = 0; t < threads; t++) {
        pthread_join(ids[t], NULL);
        if (begin[t] < first) first = begin[t];
        if (end[t] > last) last = end[t];
    }
    pthread_barrier_destroy(&gate);
    return (last - first) / ((double)each * threads / bytes);
}
