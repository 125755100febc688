// The slot of this process: found by the environment, mapped at the first need, checked before it is
// believed.
//
// A forked child goes on with the mapping of its parent: the quota is that of the instance, its children
// included.
#ifndef GATE_MAPPING_H
#define GATE_MAPPING_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "times.h"

#define INFLIGHT_LARGEST_RING 64

struct gate {
    struct gate_header *header;
    struct gate_slot *slot;
    size_t bytes;
    struct times_file *times;
    unsigned inflight_every, inflight_ring;
};

static struct gate_header no_header;
static struct gate_slot no_slot; // its mode is off
static struct gate pass_through = {.header = &no_header, .slot = &no_slot};
static _Atomic(struct gate *) own_mapping;

static const char *fault_of(const struct gate_header *header, uint64_t bytes, uint64_t index)
{
    if (bytes < sizeof *header || header->magic != GATE_MAGIC)
        return "is not a gate file";
    if (header->abi_version != GATE_ABI_VERSION || header->header_bytes != sizeof *header ||
        header->slot_bytes != sizeof(struct gate_slot))
        return "is of another version";
    if (index >= header->slot_count)
        return "has no such slot";
    if (header->slot_count > (bytes - sizeof *header) / sizeof(struct gate_slot))
        return "is shorter than it says";
    return NULL;
}

static void unmap(struct gate *gate)
{
    munmap(gate->header, gate->bytes);
    free(gate->times);
    free(gate);
}

static struct gate *map_file(const char *path, uint64_t index, const char **reason)
{
    struct stat status;
    struct gate *gate = calloc(1, sizeof *gate);
    int file = open(path, O_RDWR | O_CLOEXEC);
    *reason = NULL;
    if (gate == NULL || file < 0 || fstat(file, &status) != 0) {
        *reason = strerror(errno);
    } else if ((gate->bytes = (size_t)status.st_size) < sizeof *gate->header) {
        *reason = "is not a gate file";
    } else {
        void *address = mmap(NULL, gate->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (address == MAP_FAILED) {
            *reason = strerror(errno);
        } else if ((*reason = fault_of(address, gate->bytes, index)) != NULL) {
            munmap(address, gate->bytes);
        } else {
            gate->header = address;
            gate->slot = (struct gate_slot *)((char *)address + sizeof *gate->header) + index;
        }
    }
    if (file >= 0)
        close(file);
    if (*reason == NULL) {
        uint64_t nobody = 0, absent = GATE_STATE_ABSENT;
        atomic_compare_exchange_strong(&gate->slot->pid, &nobody, (uint64_t)getpid());
        atomic_compare_exchange_strong(&gate->slot->state, &absent, GATE_STATE_MAPPED);
        return gate;
    }
    free(gate);
    return NULL;
}

static bool parse_index(const char *text, uint64_t *index)
{
    char *end;
    errno = 0;
    *index = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static void read_options(struct gate *gate)
{
    const char *times = getenv("GATE_TIMES"), *inflight = getenv("GATE_INFLIGHT"), *reason = NULL;
    unsigned every, ring;
    char extra;
    if (times != NULL && (gate->times = times_load(times, &reason)) == NULL)
        fprintf(stderr, "gate: GATE_TIMES=%s %s; kernels are charged the default\n", times, reason);
    if (inflight == NULL)
        return;
    if (sscanf(inflight, "%u,%u%c", &every, &ring, &extra) == 2 && every > 0 && ring > 0 &&
        ring <= INFLIGHT_LARGEST_RING) {
        gate->inflight_every = every;
        gate->inflight_ring = ring;
    } else {
        fprintf(stderr,
                "gate: GATE_INFLIGHT=%s is not K,R with R at most %d; launches in flight are not bounded\n",
                inflight, INFLIGHT_LARGEST_RING);
    }
}

// Map what the environment names. Threads may do so at once: the first mapping stays, others are undone.
static struct gate *map_own(void)
{
    const char *path = getenv("GATE_FILE"), *slot = getenv("GATE_SLOT"), *reason = NULL;
    struct gate *gate = NULL, *earlier = NULL;
    uint64_t index = 0;
    int saved = errno;
    if (path != NULL) {
        if (slot == NULL || !parse_index(slot, &index))
            reason = "needs a number in GATE_SLOT";
        else
            gate = map_file(path, index, &reason);
        if (gate == NULL)
            fprintf(stderr, "gate: GATE_FILE=%s %s; launches pass ungated\n", path, reason);
        else
            read_options(gate);
    }
    struct gate *chosen = gate != NULL ? gate : &pass_through;
    if (!atomic_compare_exchange_strong(&own_mapping, &earlier, chosen)) {
        if (gate != NULL)
            unmap(gate);
        chosen = earlier;
    }
    errno = saved;
    return chosen;
}

static inline struct gate *own_gate(void)
{
    struct gate *gate = atomic_load_explicit(&own_mapping, memory_order_acquire);
    return gate != NULL ? gate : map_own();
}

#endif
