// A CUDA driver without a GPU, with as much of a pretended H100 as the checks ask for: memory on the host, three
// kernels that are known by name and take the time that so many SMs would, graphs, green contexts, and clients of
// MPS that can be terminated. FAKE_MPS names the folder of the fake daemon.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SMS 132
#define FLOPS_A_SM 0.5e12
#define BYTES_A_SM 50e9
#define MOST_BYTES 3e12
#define TERMINATED 810
#define SECOND UINT64_C(1000000000)

struct stream {
    int first_sm, sms, capturing;
    uint64_t busy_until, captured_ns;
};

struct green {
    int first_sm, sms;
};

struct resource {
    unsigned type;
    unsigned char padding[92];
    unsigned sms, least, multiple;
    unsigned char rest[36];
};

static struct stream default_stream;
static _Atomic uint64_t launches;

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : otherwise;
}

static int under_mps(void)
{
    return getenv("CUDA_MPS_PIPE_DIRECTORY") != NULL && !number("FAKE_MPS_MISSED", 0);
}

static int visible_sms(void)
{
    const char *percentage = getenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE");
    if (!under_mps() || percentage == NULL || number("FAKE_CAP_IGNORED", 0))
        return SMS;
    int sms = (int)(SMS * atof(percentage) / 100) / 2 * 2;
    return sms < 2 ? 2 : sms;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

// What the fake daemon was told, and the list of clients that it answers with.
static FILE *open_fake(const char *name, const char *mode)
{
    char path[512];
    const char *folder = getenv("FAKE_MPS");
    if (folder == NULL)
        return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, mode);
}

static int is_terminated(void)
{
    char line[256];
    int pid, server, found = 0;
    FILE *calls = under_mps() ? open_fake("calls", "r") : NULL;
    while (calls != NULL && fgets(line, sizeof line, calls) != NULL)
        if (sscanf(line, "shell terminate_client %d %d", &server, &pid) == 2 && pid == (int)getpid())
            found = 1;
    if (calls != NULL)
        fclose(calls);
    return found;
}

static int wait_until(uint64_t until)
{
    while (now_ns() < until) {
        struct timespec nap = {0, 1000000};
        if (is_terminated())
            return TERMINATED;
        if (until - now_ns() < 1000000)
            nap.tv_nsec = 20000;
        nanosleep(&nap, NULL);
    }
    return is_terminated() ? TERMINATED : 0;
}

int cuInit(unsigned flags)
{
    return flags != 0 ? 1 : number("FAKE_CUDA_INIT", 0);
}

int cuDriverGetVersion(int *version)
{
    *version = number("FAKE_CUDA_VERSION", 13000);
    return 0;
}

int cuGetErrorName(int code, const char **name)
{
    *name = code == TERMINATED ? "CUDA_ERROR_MPS_CLIENT_TERMINATED" : code == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name == NULL;
}

int cuDeviceGet(int *device, int ordinal)
{
    *device = 40;
    return ordinal == 0 ? 0 : 101;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    if (device != 40)
        return 101;
    *value = attribute == 16 ? visible_sms() : attribute == 133 ? under_mps() : 9;
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    FILE *clients = under_mps() ? open_fake("clients", "a") : NULL;
    (void)device;
    default_stream.sms = visible_sms();
    *context = &default_stream;
    if (clients != NULL) {
        fprintf(clients, "%d\n", (int)getpid());
        fclose(clients);
    }
    return 0;
}

int cuCtxSetCurrent(void *context)
{
    return context == NULL;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    *address = (uint64_t)(uintptr_t)calloc(1, bytes);
    return *address == 0 ? 2 : 0;
}

int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t bytes)
{
    if (bytes < (1 << 20)) // calloc has cleared the large ones
        memset((void *)(uintptr_t)address, value, bytes);
    return 0;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes)
{
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return 0;
}

int cuModuleLoadData(void **module, const char *image)
{
    *module = &default_stream;
    return strncmp(image, ".version 7.0\n.target sm_80\n", 26) == 0 ? 0 : 218;
}

static const char *const KERNELS[] = {"sm_ids", "multiply_add", "copy"};

int cuModuleGetFunction(void **function, void *module, const char *name)
{
    (void)module;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, KERNELS[i]) == 0) {
            *function = (void *)&KERNELS[i];
            return 0;
        }
    return 500;
}

static void add_work(struct stream *stream, uint64_t ns)
{
    uint64_t now = now_ns();
    if (stream->capturing)
        stream->captured_ns += ns;
    else
        stream->busy_until = (stream->busy_until > now ? stream->busy_until : now) + ns;
}

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *on, void **values, void **extra)
{
    struct stream *stream = on != NULL ? on : &default_stream;
    double ns = 1000;
    (void)gy, (void)gz, (void)by, (void)bz, (void)shared, (void)extra;
    launches++;
    if (f == (void *)&KERNELS[0]) {
        uint32_t *counts = (uint32_t *)(uintptr_t) * (uint64_t *)values[0];
        for (unsigned block = 0; block < gx; block++)
            counts[(stream->first_sm + (int)block % stream->sms) % 1024]++;
    } else if (f == (void *)&KERNELS[1]) {
        ns = 1e9 * gx * bx * 128.0 * *(uint32_t *)values[1] / (FLOPS_A_SM * stream->sms);
    } else {
        double rate = BYTES_A_SM * stream->sms;
        ns = 1e9 * 32.0 * *(uint32_t *)values[2] / (rate < MOST_BYTES ? rate : MOST_BYTES);
    }
    add_work(stream, (uint64_t)ns);
    return 0;
}

int cuStreamCreate(void **stream, unsigned flags)
{
    struct stream *made = calloc(1, sizeof *made);
    made->sms = visible_sms();
    *stream = made;
    return flags != 1;
}

int cuStreamDestroy_v2(void *stream)
{
    free(stream);
    return 0;
}

int cuStreamSynchronize(void *stream)
{
    return wait_until((stream != NULL ? (struct stream *)stream : &default_stream)->busy_until);
}

int cuCtxSynchronize(void)
{
    return wait_until(default_stream.busy_until);
}

int cuStreamIsCapturing(void *stream, int *status)
{
    *status = ((struct stream *)stream)->capturing && !number("FAKE_CAPTURE_UNSEEN", 0);
    return 0;
}

int cuStreamBeginCapture_v2(void *stream, int mode)
{
    ((struct stream *)stream)->capturing = 1;
    return mode != 2;
}

int cuStreamEndCapture(void *stream, void **graph)
{
    ((struct stream *)stream)->capturing = 0;
    *graph = stream;
    return 0;
}

int cuGraphInstantiateWithFlags(void **ready, void *graph, uint64_t flags)
{
    *ready = graph;
    return flags != 0;
}

int cuGraphLaunch(void *graph, void *stream)
{
    add_work(stream, ((struct stream *)graph)->captured_ns);
    return 0;
}

#ifndef WITHOUT_GREEN
int cuDeviceGetDevResource(int device, struct resource *resource, int type)
{
    *resource = (struct resource){.type = 1, .sms = (unsigned)visible_sms(), .least = 8, .multiple = 8};
    return device != 40 || type != 1;
}

int cuDevSmResourceSplitByCount(struct resource *part, unsigned *parts, const struct resource *whole,
                                struct resource *rest, unsigned flags, unsigned wanted)
{
    unsigned sms = (wanted + 7) / 8 * 8;
    if (flags != 0 || sms > whole->sms)
        return 914;
    *part = *rest = *whole;
    part->sms = sms;
    rest->sms = whole->sms - sms;
    *parts = 1;
    return 0;
}

int cuDevResourceGenerateDesc(void **described, struct resource *resource, unsigned count)
{
    *described = resource;
    return count != 1;
}

int cuGreenCtxCreate(void **context, void *described, int device, unsigned flags)
{
    struct green *made = calloc(1, sizeof *made);
    made->sms = (int)((struct resource *)described)->sms;
    *context = made;
    return device != 40 || flags != 1;
}

int cuGreenCtxStreamCreate(void **stream, void *context, unsigned flags, int priority)
{
    struct stream *made = calloc(1, sizeof *made);
    made->sms = ((struct green *)context)->sms + number("FAKE_GREEN_EXTRA", 0);
    made->first_sm = ((struct green *)context)->first_sm;
    *stream = made;
    return flags != 1 || priority != 0;
}

int cuCtxFromGreenCtx(void **context, void *green)
{
    *context = green;
    return 0;
}

int cuGreenCtxDestroy(void *context)
{
    free(context);
    return 0;
}
#endif
