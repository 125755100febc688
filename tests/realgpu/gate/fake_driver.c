// A CUDA driver without a GPU: it counts launches, lets a pretended GPU work for a time that grows with the
// grid, and knows streams that capture, events on the pretended GPU's clock, and kernel names (a handle is
// its name).
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KERNEL, KERNEL_EX, COOPERATIVE, GRAPH, LAUNCHES };

struct config {
    unsigned grid[3], block[3], shared;
    void *stream;
};

struct event {
    uint64_t at;
};

static _Atomic uint64_t calls[2 * LAUNCHES], captured, busy_until, live_events, largest_backlog, asked;
static _Atomic(void *) capturing = (void *)-1;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int launched(int index, void *stream, uint64_t blocks)
{
    static _Atomic uint64_t block_ns = UINT64_MAX;
    if (block_ns == UINT64_MAX)
        block_ns = getenv("FAKE_NS_PER_BLOCK") ? strtoull(getenv("FAKE_NS_PER_BLOCK"), NULL, 10) : 0;
    calls[index]++;
    if (stream == capturing) {
        captured++;
    } else if (block_ns > 0) {
        uint64_t busy = busy_until, now = now_ns(), until;
        do {
            until = (busy > now ? busy : now) + blocks * block_ns;
        } while (!atomic_compare_exchange_weak(&busy_until, &busy, until));
        if (until - now > largest_backlog)
            largest_backlog = until - now;
    }
    return 0;
}

#define DEFINE(suffix, pt)                                                                                  \
    int cuLaunchKernel##suffix(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,    \
                               unsigned bz, unsigned shared, void *stream, void **p, void **e)              \
    {                                                                                                       \
        (void)f, (void)bx, (void)by, (void)bz, (void)shared, (void)p, (void)e;                              \
        return launched(2 * KERNEL + pt, stream, (uint64_t)gx * gy * gz);                                   \
    }                                                                                                       \
    int cuLaunchKernelEx##suffix(const struct config *c, void *f, void **p, void **e)                       \
    {                                                                                                       \
        (void)f, (void)p, (void)e;                                                                          \
        return launched(2 * KERNEL_EX + pt, c->stream, (uint64_t)c->grid[0] * c->grid[1] * c->grid[2]);     \
    }                                                                                                       \
    int cuLaunchCooperativeKernel##suffix(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,      \
                                          unsigned by, unsigned bz, unsigned shared, void *stream,          \
                                          void **p)                                                         \
    {                                                                                                       \
        (void)f, (void)bx, (void)by, (void)bz, (void)shared, (void)p;                                       \
        return launched(2 * COOPERATIVE + pt, stream, (uint64_t)gx * gy * gz);                              \
    }                                                                                                       \
    int cuGraphLaunch##suffix(void *graph, void *stream)                                                    \
    {                                                                                                       \
        (void)graph;                                                                                        \
        return launched(2 * GRAPH + pt, stream, 1);                                                         \
    }

DEFINE(, 0)
DEFINE(_ptsz, 1)

int cuStreamBeginCapture_v2(void *stream, int mode)
{
    (void)mode;
    capturing = stream;
    return 0;
}

int cuStreamEndCapture(void *stream, void **graph)
{
    capturing = (void *)-1;
    *graph = stream;
    return 0;
}

int cuStreamIsCapturing(void *stream, int *status)
{
    asked++;
    if (getenv("FAKE_CAPTURE_FAILS"))
        return 906;
    *status = stream == capturing;
    return 0;
}

int cuEventCreate(void **event, unsigned flags)
{
    (void)flags;
    live_events++;
    *event = calloc(1, sizeof(struct event));
    return 0;
}

int cuEventRecord(void *event, void *stream)
{
    (void)stream;
    uint64_t now = now_ns(), busy = busy_until;
    ((struct event *)event)->at = busy > now ? busy : now;
    return 0;
}

int cuEventSynchronize(void *event)
{
    uint64_t at = ((struct event *)event)->at;
    struct timespec until = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
    while (now_ns() < at)
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    return 0;
}

int cuEventElapsedTime(float *milliseconds, void *start, void *end)
{
    *milliseconds = (float)((double)(((struct event *)end)->at - ((struct event *)start)->at) / 1e6);
    return 0;
}

int cuEventDestroy_v2(void *event)
{
    live_events--;
    free(event);
    return 0;
}

int cuFuncGetName(const char **name, void *function)
{
    if (function == NULL || ((const char *)function)[0] == '?') // a handle of another sort
        return 400;
    *name = function;
    return 0;
}

int cuKernelGetName(const char **name, void *kernel)
{
    *name = kernel;
    return 0;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    *address = bytes;
    return 0;
}

uint64_t fake_calls(int index)
{
    return calls[index];
}

uint64_t fake_value(const char *name)
{
    return strcmp(name, "captured") == 0          ? captured
           : strcmp(name, "live_events") == 0     ? live_events
           : strcmp(name, "largest_backlog") == 0 ? largest_backlog
                                                  : asked;
}

int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags);
int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status);

static const struct {
    const char *name;
    int since;
    void *legacy, *per_thread;
} functions[] = {
    {"cuGetProcAddress", 12000, cuGetProcAddress_v2, cuGetProcAddress_v2},
    {"cuGetProcAddress", 11030, cuGetProcAddress, cuGetProcAddress},
    {"cuLaunchKernel", 7000, cuLaunchKernel, cuLaunchKernel_ptsz},
    {"cuLaunchKernel", 4000, cuLaunchKernel, cuLaunchKernel},
    {"cuLaunchKernelEx", 11060, cuLaunchKernelEx, cuLaunchKernelEx_ptsz},
    {"cuLaunchCooperativeKernel", 9000, cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz},
    {"cuGraphLaunch", 10000, cuGraphLaunch, cuGraphLaunch_ptsz},
    {"cuMemAlloc", 3020, cuMemAlloc_v2, cuMemAlloc_v2},
};

int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(name, functions[i].name) == 0 && version >= functions[i].since) {
            *found = flags & 2 ? functions[i].per_thread : functions[i].legacy;
            return 0;
        }
    *found = NULL;
    return 500;
}

int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status)
{
    int result = cuGetProcAddress(name, found, version, flags);
    if (status != NULL)
        *status = result ? 1 : 0;
    return result;
}
