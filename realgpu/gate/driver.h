// The functions of the real CUDA driver, found without its headers and without disturbing anyone's look-ups.
#ifndef GATE_DRIVER_H
#define GATE_DRIVER_H

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define CUDA_ERROR_NOT_INITIALIZED 3
#define STREAM_LEGACY ((void *)1)
#define STREAM_PER_THREAD ((void *)2)
#define EVENT_BLOCKING_SYNC 1u
#define EVENT_DISABLE_TIMING 2u

typedef void *dlsym_function(void *, const char *);

// The C library's own dlsym. Its symbol version differs with the age and the machine of the library.
static dlsym_function *real_dlsym(void)
{
    static _Atomic(dlsym_function *) found;
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
    dlsym_function *function = atomic_load_explicit(&found, memory_order_relaxed);
    for (size_t i = 0; function == NULL && i < sizeof versions / sizeof *versions; i++)
        function = (dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    if (function == NULL) {
        fputs("gate: the C library has no dlsym of a known version\n", stderr);
        abort();
    }
    atomic_store_explicit(&found, function, memory_order_relaxed);
    return function;
}

// A function of the loaded driver, or NULL. Never loads the driver.
static void *driver_symbol(const char *name)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (driver == NULL)
        return NULL;
    void *symbol = real_dlsym()(driver, name);
    dlclose(driver);
    return symbol;
}

// The same, looked up once: *found is the function, or ABSENT.
static void *driver_function(_Atomic(void *) *found, const char *name)
{
    static char absent;
    void *function = atomic_load_explicit(found, memory_order_relaxed);
    if (function == NULL) {
        function = driver_symbol(name);
        atomic_store_explicit(found, function != NULL ? function : &absent, memory_order_relaxed);
    }
    return function == (void *)&absent ? NULL : function;
}

// Defines driver_NAME(), which returns the driver's function of that name and type, or NULL.
#define DRIVER_FUNCTION(name, ...)                                          \
    typedef int name##_function(__VA_ARGS__);                               \
    static inline name##_function *driver_##name(void)                      \
    {                                                                       \
        static _Atomic(void *) found;                                       \
        return (name##_function *)driver_function(&found, #name);           \
    }

DRIVER_FUNCTION(cuStreamIsCapturing, void *stream, int *status)
DRIVER_FUNCTION(cuEventCreate, void **event, unsigned flags)
DRIVER_FUNCTION(cuEventRecord, void *event, void *stream)
DRIVER_FUNCTION(cuEventSynchronize, void *event)
DRIVER_FUNCTION(cuEventElapsedTime, float *milliseconds, void *start, void *end)
DRIVER_FUNCTION(cuEventDestroy_v2, void *event)
DRIVER_FUNCTION(cuFuncGetName, const char **name, void *function)
DRIVER_FUNCTION(cuKernelGetName, const char **name, void *kernel)

#endif
