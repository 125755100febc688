// How long kernels run: the prices of the cost model "time".
//
// A process keeps what it has seen in a bounded table, keyed by function handle and grid; a handle means
// nothing elsewhere. A file keeps kernel names instead, so that one process can use what another one
// measured: the first launch of a handle asks the driver for its name (CUDA 12.3 and later) and looks the
// name up. Calibration puts an event before and behind each launch and waits for it, and fills the process's
// table.
#ifndef GATE_TIMES_H
#define GATE_TIMES_H

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bucket.h"
#include "driver.h"

#define TIMES_ENTRIES 4096 // of each table; a kernel beyond them is unknown
#define TIMES_PROBES 32
#define TIMES_HEADING "dilu-gate-times 1"

enum { KEY_EMPTY, KEY_BUSY, KEY_FIRST };

struct launch {
    void *function; // NULL: a whole graph
    unsigned grid[3];
    void *stream;
};

// A kernel of this process; a mean over `count` launches, unknown while that is 0.
struct kernel_time {
    _Atomic uint64_t key, total_ns, count;
    void *function;
    unsigned grid[3];
};

struct named_time {
    uint64_t key, ns;
};

struct times_file {
    uint64_t default_ns;
    struct named_time named[TIMES_ENTRIES];
};

struct timing {
    void *start, *end;
};

static struct kernel_time kernel_times[TIMES_ENTRIES];

static uint64_t times_hash(uint64_t hash, const void *bytes, size_t size)
{
    for (const unsigned char *byte = bytes; size-- > 0; byte++)
        hash = (hash ^ *byte) * UINT64_C(0x100000001b3); // FNV-1a
    return hash;
}

static uint64_t times_key(const void *bytes, size_t size, const unsigned grid[3])
{
    uint64_t hash = times_hash(UINT64_C(0xcbf29ce484222325), bytes, size);
    hash = times_hash(hash, grid, 3 * sizeof *grid);
    hash ^= hash >> 32;
    return hash < KEY_FIRST ? KEY_FIRST : hash;
}

static const char *kernel_name(void *function)
{
    const char *name = NULL;
    if (driver_cuFuncGetName() != NULL && driver_cuFuncGetName()(&name, function) == 0 && name != NULL)
        return name;
    if (driver_cuKernelGetName() != NULL && driver_cuKernelGetName()(&name, function) == 0)
        return name;
    return NULL;
}

static struct named_time *named_time(struct times_file *file, const char *name, const unsigned grid[3])
{
    uint64_t key = times_key(name, strlen(name), grid);
    for (unsigned probe = 0; probe < TIMES_PROBES; probe++) {
        struct named_time *entry = &file->named[(key + probe) % TIMES_ENTRIES];
        if (entry->key == key || entry->key == KEY_EMPTY) {
            entry->key = key;
            return entry;
        }
    }
    return NULL;
}

// Fill an entry that is ours alone until its key is stored.
static void times_enter(struct kernel_time *entry, uint64_t key, const struct launch *launch,
                        const struct times_file *file)
{
    entry->function = launch->function;
    memcpy(entry->grid, launch->grid, sizeof entry->grid);
    const char *name = file != NULL ? kernel_name(launch->function) : NULL;
    uint64_t wanted = name != NULL ? times_key(name, strlen(name), launch->grid) : KEY_EMPTY;
    for (unsigned probe = 0; name != NULL && probe < TIMES_PROBES; probe++) {
        const struct named_time *named = &file->named[(wanted + probe) % TIMES_ENTRIES];
        if (named->key == wanted) {
            bucket_add(&entry->total_ns, named->ns);
            bucket_add(&entry->count, 1);
        }
    }
    atomic_store_explicit(&entry->key, key, memory_order_release);
}

static struct kernel_time *kernel_time(const struct launch *launch, const struct times_file *file)
{
    uint64_t key = times_key(&launch->function, sizeof launch->function, launch->grid);
    for (unsigned probe = 0; probe < TIMES_PROBES; probe++) {
        struct kernel_time *entry = &kernel_times[(key + probe) % TIMES_ENTRIES];
        uint64_t found = atomic_load_explicit(&entry->key, memory_order_acquire);
        if (found == KEY_EMPTY && atomic_compare_exchange_strong(&entry->key, &found, KEY_BUSY)) {
            times_enter(entry, key, launch, file);
            return entry;
        }
        if (found == key)
            return entry;
    }
    return NULL;
}

static uint64_t times_cost(struct gate_slot *slot, const struct launch *launch, const struct times_file *file)
{
    struct kernel_time *entry = kernel_time(launch, file);
    uint64_t count = entry != NULL ? bucket_read(&entry->count) : 0;
    if (count > 0)
        return bucket_read(&entry->total_ns) / count;
    bucket_add(&slot->unknown_times, 1);
    return file != NULL ? file->default_ns : GATE_DEFAULT_KERNEL_NS;
}

static void timing_destroy(struct timing timing)
{
    cuEventDestroy_v2_function *destroy = driver_cuEventDestroy_v2();
    if (timing.start != NULL && destroy != NULL)
        destroy(timing.start);
    if (timing.end != NULL && destroy != NULL)
        destroy(timing.end);
}

static __attribute__((noinline)) struct timing timing_begin(void *stream)
{
    struct timing timing = {NULL, NULL};
    cuEventCreate_function *create = driver_cuEventCreate();
    cuEventRecord_function *record = driver_cuEventRecord();
    if (create == NULL || record == NULL || driver_cuEventSynchronize() == NULL ||
        driver_cuEventElapsedTime() == NULL)
        return timing;
    if (create(&timing.start, EVENT_BLOCKING_SYNC) != 0 || create(&timing.end, EVENT_BLOCKING_SYNC) != 0 ||
        record(timing.start, stream) != 0) {
        timing_destroy(timing);
        timing = (struct timing){NULL, NULL};
    }
    return timing;
}

static __attribute__((noinline)) void timing_end(struct timing timing, void *function, unsigned gx,
                                                 unsigned gy, unsigned gz, void *stream)
{
    struct launch launch = {function, {gx, gy, gz}, stream};
    float milliseconds;
    if (timing.start == NULL)
        return;
    if (driver_cuEventRecord()(timing.end, stream) == 0 &&
        driver_cuEventSynchronize()(timing.end) == 0 &&
        driver_cuEventElapsedTime()(&milliseconds, timing.start, timing.end) == 0) {
        struct kernel_time *entry = kernel_time(&launch, NULL);
        if (entry != NULL) {
            bucket_add(&entry->total_ns, (uint64_t)((double)milliseconds * 1e6));
            bucket_add(&entry->count, 1);
        }
    }
    timing_destroy(timing);
}

// Read a file of times; NULL with a reason if it is not one.
static struct times_file *times_load(const char *path, const char **reason)
{
    FILE *stream = fopen(path, "re");
    struct times_file *file = calloc(1, sizeof *file);
    char line[4096], extra;
    unsigned grid[3];
    *reason = stream == NULL ? strerror(errno) : file == NULL ? "no memory" : NULL;
    if (*reason == NULL && (fgets(line, sizeof line, stream) == NULL ||
                            strcmp(line, TIMES_HEADING "\n") != 0 ||
                            fgets(line, sizeof line, stream) == NULL ||
                            sscanf(line, "default %" SCNu64 "%c", &file->default_ns, &extra) != 2))
        *reason = "does not begin with '" TIMES_HEADING "' and 'default NS'";
    while (*reason == NULL && fgets(line, sizeof line, stream) != NULL) {
        uint64_t ns;
        int name = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNu64 " %u %u %u %n", &ns, &grid[0], &grid[1], &grid[2], &name) != 4 ||
            line[name] == '\0') {
            *reason = "has a line that is not 'NS GX GY GZ NAME'";
        } else {
            struct named_time *entry = named_time(file, line + name, grid);
            if (entry != NULL)
                entry->ns = ns;
        }
    }
    if (stream != NULL)
        fclose(stream);
    if (*reason == NULL)
        return file;
    free(file);
    return NULL;
}

// Write what this process knows; the number of lines, or -errno. A kernel without a name stays unwritten.
static int times_save(const char *path)
{
    int lines = 0;
    FILE *stream = fopen(path, "we");
    if (stream == NULL)
        return -errno;
    fprintf(stream, TIMES_HEADING "\ndefault %" PRIu64 "\n", GATE_DEFAULT_KERNEL_NS);
    for (struct kernel_time *entry = kernel_times; entry < kernel_times + TIMES_ENTRIES; entry++) {
        uint64_t count = bucket_read(&entry->count);
        if (atomic_load_explicit(&entry->key, memory_order_acquire) < KEY_FIRST || count == 0)
            continue;
        const char *name = kernel_name(entry->function);
        if (name == NULL)
            continue;
        fprintf(stream, "%" PRIu64 " %u %u %u %s\n", bucket_read(&entry->total_ns) / count, entry->grid[0],
                entry->grid[1], entry->grid[2], name);
        lines++;
    }
    int failed = ferror(stream);
    return fclose(stream) != 0 || failed ? -EIO : lines;
}

#endif
