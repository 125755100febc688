// The launch gate: a library to preload, which charges every CUDA kernel launch of a process to a token
// bucket in shared memory and holds the launch up while the bucket is empty.
//
//     cc -O2 -std=c11 -shared -fPIC -pthread -o gate.so gate.c -ldl
//     LD_PRELOAD=gate.so GATE_FILE=FILE GATE_SLOT=N program
//
// CUDA libraries find the driver's functions by dlsym, most of them by one look-up of cuGetProcAddress_v2.
// Both are wrapped, and swap the names of launches and nothing else; who is linked to the driver finds the
// exported functions. Without GATE_FILE, or with one that does not fit, all is passed through. docs/gate.md
// says more.
//
// No lock is taken anywhere, and no driver function is called before the first launch.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "charge.h"

#define EXPORT __attribute__((visibility("default")))

// ---- launches ---------------------------------------------------------------------------------------------

static uint64_t launch_cost(struct gate *gate, const struct launch *launch)
{
    struct gate_slot *slot = gate->slot;
    if (launch->function == NULL) {
        uint64_t declared = bucket_read(&slot->graph_cost);
        return within_costs(declared != 0 ? declared : bucket_read(&slot->captured_cost));
    }
    switch (bucket_read(&slot->cost_model)) {
    case GATE_COST_LAUNCHES:
        return 1;
    case GATE_COST_TIME:
        return within_costs(times_cost(slot, launch, gate->times));
    default: {
        uint64_t plane = (uint64_t)launch->grid[0] * launch->grid[1];
        unsigned __int128 blocks = (unsigned __int128)plane * launch->grid[2];
        return within_costs(blocks < UINT64_MAX ? (uint64_t)blocks : UINT64_MAX);
    }
    }
}

// A launch that is captured does no work now, and holding it up could hold up the stream that captures.
// The legacy stream cannot be captured. When the driver does not say, the launch is taken as captured.
static bool is_captured(struct gate_slot *slot, void *stream)
{
    if (bucket_read(&slot->capture_flag) != 0)
        return true;
    if (stream == NULL || stream == STREAM_LEGACY)
        return false;
    cuStreamIsCapturing_function *ask = driver_cuStreamIsCapturing();
    int status = 0;
    return ask != NULL && (ask(stream, &status) != 0 || status != 0);
}

// Before every K-th launch an event is recorded; the one that stood R events ago must have come to pass.
static void bound_in_flight(struct gate *gate, void *stream)
{
    static _Atomic(void *) ring[INFLIGHT_LARGEST_RING];
    static _Atomic uint64_t launches;
    uint64_t count = atomic_fetch_add_explicit(&launches, 1, memory_order_relaxed);
    if (count % gate->inflight_every != 0 || driver_cuEventCreate() == NULL ||
        driver_cuEventRecord() == NULL || driver_cuEventSynchronize() == NULL ||
        driver_cuEventDestroy_v2() == NULL)
        return;
    _Atomic(void *) *place = &ring[count / gate->inflight_every % gate->inflight_ring];
    void *event = atomic_exchange(place, NULL), *nothing = NULL;
    if (event != NULL) {
        driver_cuEventSynchronize()(event);
        bucket_add(&gate->slot->inflight_waits, 1);
    } else if (driver_cuEventCreate()(&event, EVENT_BLOCKING_SYNC | EVENT_DISABLE_TIMING) != 0) {
        return;
    }
    if (driver_cuEventRecord()(event, stream) != 0 || !atomic_compare_exchange_strong(place, &nothing, event))
        driver_cuEventDestroy_v2()(event);
}

// Everything that the gate does before a launch; returns whether the launch is to be timed. Not inlined, and
// given its arguments in registers, so that what calls it keeps nothing on its stack and ends in a jump to
// the driver.
static __attribute__((noinline)) bool meet(void *function, unsigned gx, unsigned gy, unsigned gz,
                                           void *stream)
{
    struct gate *gate = own_gate();
    struct gate_slot *slot = gate->slot;
    uint64_t mode = bucket_read(&slot->mode);
    if (mode == GATE_MODE_OFF)
        return false;
    struct launch launch = {function, {gx, gy, gz}, stream};
    uint64_t cost = launch_cost(gate, &launch);
    if (is_captured(slot, stream)) {
        bucket_add(&slot->captured_launches, 1);
        bucket_add(&slot->captured_cost, cost);
        return false;
    }
    if (function == NULL)
        bucket_add(&slot->graph_launches, 1);
    charge(gate, mode, cost);
    if (gate->inflight_every != 0)
        bound_in_flight(gate, stream);
    return mode == GATE_MODE_CALIBRATE && function != NULL;
}

enum { KERNEL, KERNEL_EX, COOPERATIVE, GRAPH, LAUNCHES };

// By launch, and for each the one of the legacy stream, then that of the per-thread stream.
static _Atomic(void *) real_launches[2 * LAUNCHES];
static const char *const LAUNCH_NAMES[2 * LAUNCHES] = {
    "cuLaunchKernel",            "cuLaunchKernel_ptsz",            // KERNEL
    "cuLaunchKernelEx",          "cuLaunchKernelEx_ptsz",          // KERNEL_EX
    "cuLaunchCooperativeKernel", "cuLaunchCooperativeKernel_ptsz", // COOPERATIVE
    "cuGraphLaunch",             "cuGraphLaunch_ptsz",             // GRAPH
};

static int no_driver(void)
{
    return CUDA_ERROR_NOT_INITIALIZED;
}

static __attribute__((noinline)) void *find_launch(int index)
{
    void *found = driver_symbol(LAUNCH_NAMES[index]);
    if (found == NULL)
        return (void *)no_driver;
    atomic_store_explicit(&real_launches[index], found, memory_order_relaxed);
    return found;
}

static inline void *real_launch(int index)
{
    void *real = atomic_load_explicit(&real_launches[index], memory_order_relaxed);
    return real != NULL ? real : find_launch(index);
}

// The driver's launch, if it is known and the gate is off: the way that is to cost next to nothing. Otherwise
// NULL.
static inline void *open_launch(int index)
{
    void *real = atomic_load_explicit(&real_launches[index], memory_order_relaxed);
    struct gate *gate = atomic_load_explicit(&own_mapping, memory_order_acquire);
    return gate != NULL && bucket_read(&gate->slot->mode) == GATE_MODE_OFF ? real : NULL;
}

// The first members of CUlaunchConfig (cuda.h 13.0); more follow.
struct launch_config {
    unsigned grid[3], block[3], shared_bytes;
    void *stream;
};

#define ON_STREAM(stream, per_thread) ((per_thread) && (stream) == NULL ? STREAM_PER_THREAD : (stream))

typedef int kernel_function(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                            void *, void **, void **);
typedef int kernel_ex_function(const struct launch_config *, void *, void **, void **);
typedef int cooperative_function(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                 void *, void **);
typedef int graph_function(void *, void *);

#define LIST(...) __VA_ARGS__

// Nothing of the exported function's own is alive when it calls the driver, so it ends in a jump.
#define DEFINE_LAUNCH(index, name, type, parameters, arguments, f, gx, gy, gz, stream)                 \
    static __attribute__((noinline)) int timed_##name(parameters)                                      \
    {                                                                                                  \
        struct timing timing = timing_begin(stream);                                                   \
        int result = ((type *)real_launch(index))(arguments);                                          \
        timing_end(timing, f, gx, gy, gz, stream);                                                     \
        return result;                                                                                 \
    }                                                                                                  \
    EXPORT int name(parameters)                                                                        \
    {                                                                                                  \
        type *open = (type *)open_launch(index);                                                       \
        if (open != NULL)                                                                              \
            return open(arguments);                                                                    \
        if (meet(f, gx, gy, gz, stream))                                                               \
            return timed_##name(arguments);                                                            \
        return ((type *)real_launch(index))(arguments);                                                \
    }

#define DEFINE_LAUNCHES(suffix, per_thread)                                                            \
    DEFINE_LAUNCH(2 * KERNEL + per_thread, cuLaunchKernel##suffix, kernel_function,                    \
                  LIST(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,       \
                       unsigned bz, unsigned shared, void *stream, void **values, void **extra),       \
                  LIST(f, gx, gy, gz, bx, by, bz, shared, stream, values, extra), f, gx, gy, gz,       \
                  ON_STREAM(stream, per_thread))                                                       \
    DEFINE_LAUNCH(2 * KERNEL_EX + per_thread, cuLaunchKernelEx##suffix, kernel_ex_function,            \
                  LIST(const struct launch_config *config, void *f, void **values, void **extra),      \
                  LIST(config, f, values, extra), f, config->grid[0], config->grid[1],                 \
                  config->grid[2], ON_STREAM(config->stream, per_thread))                              \
    DEFINE_LAUNCH(2 * COOPERATIVE + per_thread, cuLaunchCooperativeKernel##suffix,                     \
                  cooperative_function,                                                                \
                  LIST(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,       \
                       unsigned bz, unsigned shared, void *stream, void **values),                     \
                  LIST(f, gx, gy, gz, bx, by, bz, shared, stream, values), f, gx, gy, gz,              \
                  ON_STREAM(stream, per_thread))                                                       \
    DEFINE_LAUNCH(2 * GRAPH + per_thread, cuGraphLaunch##suffix, graph_function,                       \
                  LIST(void *graph, void *stream), LIST(graph, stream), NULL, 0, 0, 0,                 \
                  ON_STREAM(stream, per_thread))

DEFINE_LAUNCHES(, 0)
DEFINE_LAUNCHES(_ptsz, 1)

static void *const our_launches[2 * LAUNCHES] = {
    cuLaunchKernel,            cuLaunchKernel_ptsz,            cuLaunchKernelEx, cuLaunchKernelEx_ptsz,
    cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz, cuGraphLaunch,    cuGraphLaunch_ptsz,
};

// ---- look-ups ---------------------------------------------------------------------------------------------

#define PER_THREAD_STREAM UINT64_C(2) // CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
#define PER_THREAD_SINCE 7000
#define SECOND_ADDRESS_SINCE 12000 // from here on cuGetProcAddress is the one with five arguments

typedef int address_function(const char *, void **, int, uint64_t);
typedef int address_v2_function(const char *, void **, int, uint64_t, int *);

static _Atomic(void *) real_address, real_address_v2;
EXPORT address_function cuGetProcAddress;
EXPORT address_v2_function cuGetProcAddress_v2;

// Put our function in place of the driver's, which is kept.
static void *swap(_Atomic(void *) *kept, void *found, void *ours)
{
    if (found != NULL && found != ours)
        atomic_store_explicit(kept, found, memory_order_release);
    return found != NULL ? ours : NULL;
}

static void swap_address(const char *name, void **found, int version, uint64_t flags)
{
    if (name == NULL || found == NULL || *found == NULL)
        return;
    if (strcmp(name, "cuGetProcAddress_v2") == 0 ||
        (strcmp(name, "cuGetProcAddress") == 0 && version >= SECOND_ADDRESS_SINCE))
        *found = swap(&real_address_v2, *found, (void *)cuGetProcAddress_v2);
    else if (strcmp(name, "cuGetProcAddress") == 0)
        *found = swap(&real_address, *found, (void *)cuGetProcAddress);
    bool per_thread = (flags & PER_THREAD_STREAM) != 0 && version >= PER_THREAD_SINCE;
    for (int i = 0; i < LAUNCHES; i++)
        if (strcmp(name, LAUNCH_NAMES[2 * i]) == 0)
            *found = swap(&real_launches[2 * i + per_thread], *found, our_launches[2 * i + per_thread]);
}

static void note_look_up(void)
{
    struct gate *gate = own_gate();
    if (gate != &pass_through)
        atomic_store_explicit(&gate->slot->state, GATE_STATE_DRIVER_SEEN, memory_order_relaxed);
}

EXPORT int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags)
{
    address_function *real = (address_function *)driver_function(&real_address, "cuGetProcAddress");
    if (real == NULL)
        return CUDA_ERROR_NOT_INITIALIZED;
    int result = real(name, found, version, flags);
    if (result == 0)
        swap_address(name, found, version, flags);
    note_look_up();
    return result;
}

EXPORT int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status)
{
    address_v2_function *real =
        (address_v2_function *)driver_function(&real_address_v2, "cuGetProcAddress_v2");
    if (real == NULL)
        return CUDA_ERROR_NOT_INITIALIZED;
    int result = real(name, found, version, flags, status);
    if (result == 0)
        swap_address(name, found, version, flags);
    note_look_up();
    return result;
}

static void *look_up(void *handle, const char *name)
{
    void *found = real_dlsym()(handle, name);
    if (strcmp(name, "cuGetProcAddress_v2") == 0)
        return swap(&real_address_v2, found, (void *)cuGetProcAddress_v2);
    if (strcmp(name, "cuGetProcAddress") == 0)
        return swap(&real_address, found, (void *)cuGetProcAddress);
    for (int i = 0; i < 2 * LAUNCHES; i++)
        if (strcmp(name, LAUNCH_NAMES[i]) == 0)
            return swap(&real_launches[i], found, our_launches[i]);
    return found;
}

static bool may_be_ours(const char *name)
{
    return strncmp(name, "cuLaunch", 8) == 0 || strncmp(name, "cuGraphLaunch", 13) == 0 ||
           strncmp(name, "cuGetProcAddress", 16) == 0;
}

// The last call must be a jump, as every optimising compiler makes it: with RTLD_NEXT the C library looks at
// who called it, and has to find our caller.
EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
    if (handle != RTLD_NEXT && may_be_ours(name))
        return look_up(handle, name);
    return real_dlsym()(handle, name);
}

// ---- for workers that launch nothing on a GPU, and for tests ----------------------------------------------

// Map a slot; NULL with a reason if it cannot be. Ends with gate_detach.
EXPORT struct gate *gate_attach(const char *path, uint64_t index, const char **reason)
{
    return map_file(path, index, reason);
}

EXPORT void gate_detach(struct gate *gate)
{
    unmap(gate);
}

// Charge a cost as a launch would be, and wait as it would. NULL is the slot that the environment names.
EXPORT void gate_charge(struct gate *gate, uint64_t cost)
{
    gate = gate != NULL ? gate : own_gate();
    uint64_t mode = bucket_read(&gate->slot->mode);
    if (mode != GATE_MODE_OFF)
        charge(gate, mode, within_costs(cost));
}

// Write the kernel times that this process has calibrated; the number of lines, or -errno.
EXPORT int gate_times_save(const char *path)
{
    return times_save(path);
}

// The offset of the i-th field as compiled, and its name; false behind the last.
EXPORT bool gate_field(size_t i, const char **name, size_t *offset)
{
    if (i >= sizeof GATE_FIELDS / sizeof *GATE_FIELDS)
        return false;
    *name = GATE_FIELDS[i].name;
    *offset = GATE_FIELDS[i].offset;
    return true;
}
