// Launches each function once on either kind of stream, found in the way that the first argument says, and
// prints what the driver counted. Built with -DDIRECT it is linked to the driver.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *runtime_look_up(const char *name, int version, uint64_t flags, int depth, int old);

struct config {
    unsigned grid[3], block[3], shared;
    void *stream;
};

typedef int kernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                   void **, void **);
typedef int kernel_ex(const struct config *, void *, void **, void **);
typedef int cooperative(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                        void **);
typedef int graph(void *, void *);

static const char *const NAMES[4] = {"cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel",
                                     "cuGraphLaunch"};
static const int VERSIONS[4] = {7000, 11060, 9000, 10000};

#ifdef DIRECT
extern kernel cuLaunchKernel, cuLaunchKernel_ptsz;
extern kernel_ex cuLaunchKernelEx, cuLaunchKernelEx_ptsz;
extern cooperative cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz;
extern graph cuGraphLaunch, cuGraphLaunch_ptsz;
static void *const LINKED[8] = {
    cuLaunchKernel,            cuLaunchKernel_ptsz,            cuLaunchKernelEx, cuLaunchKernelEx_ptsz,
    cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz, cuGraphLaunch,    cuGraphLaunch_ptsz};
#endif

static void *found(const char *how, int index, int per_thread)
{
    char name[64];
#ifdef DIRECT
    if (strcmp(how, "direct") == 0)
        return LINKED[2 * index + per_thread];
#endif
    if (strcmp(how, "names") == 0) {
        snprintf(name, sizeof name, "%s%s", NAMES[index], per_thread ? "_ptsz" : "");
        return dlsym(dlopen("libcuda.so.1", RTLD_NOW), name);
    }
    return runtime_look_up(NAMES[index], VERSIONS[index], per_thread ? 2 : 0,
                           strcmp(how, "again") == 0 ? 2 : 0, strcmp(how, "old") == 0);
}

int main(int count, char **words)
{
    (void)count;
    struct config config = {{2, 3, 4}, {1, 1, 1}, 0, NULL};
    for (int pt = 0; pt < 2; pt++) {
        int failed = ((kernel *)found(words[1], 0, pt))("k", 2, 3, 4, 1, 1, 1, 0, NULL, NULL, NULL);
        failed |= ((kernel_ex *)found(words[1], 1, pt))(&config, "x", NULL, NULL);
        failed |= ((cooperative *)found(words[1], 2, pt))("c", 2, 3, 4, 1, 1, 1, 0, NULL, NULL);
        failed |= ((graph *)found(words[1], 3, pt))("g", NULL);
        if (failed)
            return 6;
    }
    uint64_t (*calls)(int) = (uint64_t(*)(int))dlsym(dlopen("libcuda.so.1", RTLD_NOW), "fake_calls");
    for (int i = 0; i < 8; i++)
        printf("%d ", (int)calls(i));
    return 0;
}
