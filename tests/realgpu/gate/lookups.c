// How CUDA's runtime finds the driver: one dlsym of cuGetProcAddress_v2, everything else through what it
// returns. Compiled into a program it stands for the static runtime, as a library for the shared one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int first_address(const char *, void **, int, uint64_t);
typedef int second_address(const char *, void **, int, uint64_t, int *);

// `depth` times cuGetProcAddress is fetched through itself first; `old` fetches through its four-argument
// form.
void *runtime_look_up(const char *name, int version, uint64_t flags, int depth, int old)
{
    int status;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *found = NULL;
    second_address *address = driver ? (second_address *)dlsym(driver, "cuGetProcAddress_v2") : NULL;
    if (address == NULL) {
        fputs("no driver\n", stderr);
        exit(3);
    }
    for (; depth > 0; depth--) {
        if (address("cuGetProcAddress", &found, 12000, 0, &status) != 0)
            exit(4);
        address = (second_address *)found;
    }
    if (old) {
        if (address("cuGetProcAddress", &found, 11030, 0, &status) != 0)
            exit(5);
        return ((first_address *)found)(name, &found, version, flags) == 0 ? found : NULL;
    }
    return address(name, &found, version, flags, &status) == 0 ? found : NULL;
}
