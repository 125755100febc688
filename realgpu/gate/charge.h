// What a launch meets: it is charged, and waits for its turn while the bucket is empty.
#ifndef GATE_CHARGE_H
#define GATE_CHARGE_H

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "mapping.h"

#define SPIN_NS UINT64_C(20000) // before a thread sleeps, to spare a short wait the cost of waking up
#define NAP_NS UINT64_C(200000) // where the kernel has no futex

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * BUCKET_SECOND + (uint64_t)now.tv_nsec;
}

// When the heartbeat will be stale; UINT64_MAX: never.
static uint64_t stale_from(struct gate_header *header)
{
    uint64_t heartbeat = bucket_read(&header->heartbeat_ns);
    return heartbeat < UINT64_MAX - GATE_STALE_NS ? heartbeat + GATE_STALE_NS : UINT64_MAX;
}

// Sleep until the given time, or until rates change after `epoch` was read.
static void sleep_until(struct gate_header *header, uint32_t epoch, uint64_t now, uint64_t until)
{
    uint64_t wait = until - now < BUCKET_SECOND ? until - now : BUCKET_SECOND;
    struct timespec timeout = {(time_t)(wait / BUCKET_SECOND), (long)(wait % BUCKET_SECOND)};
    uint32_t *word = (uint32_t *)&header->epoch; // its low half: little-endian
    if (syscall(SYS_futex, word, FUTEX_WAIT, epoch, &timeout, NULL, 0) == 0 || errno == EAGAIN ||
        errno == ETIMEDOUT || errno == EINTR)
        return;
    timeout = (struct timespec){0, (long)(wait < NAP_NS ? wait : NAP_NS)};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &timeout, NULL);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Every launch costs something: one that costs nothing would wait for ever at a bucket that holds nothing.
static uint64_t within_costs(uint64_t cost)
{
    return cost < 1 ? 1 : least(cost, GATE_LARGEST_COST);
}

// Wait until the ticket is admitted, or the gate opens for another reason: then the launch is not charged.
static void wait_for_turn(struct gate *gate, uint64_t ticket, uint64_t cost)
{
    struct gate_header *header = gate->header;
    struct gate_slot *slot = gate->slot;
    uint64_t begun = monotonic_ns(), now = begun;
    int saved = errno;
    bucket_add(&slot->blocked, 1);
    for (;; now = monotonic_ns()) {
        uint32_t epoch = (uint32_t)atomic_load_explicit(&header->epoch, memory_order_acquire);
        uint64_t deadline = bucket_read(&slot->deadline_ns), stale = stale_from(header);
        bucket_refill(slot, now);
        if (bucket_admits(slot, ticket))
            break;
        bool opened = bucket_read(&slot->mode) != GATE_MODE_ENFORCE || bucket_read(&slot->rate) == GATE_OPEN;
        bool is_stale = !opened && now > stale, is_late = !opened && !is_stale && now - begun >= deadline;
        if (opened || is_stale || is_late) {
            bucket_add(&slot->granted, cost);
            bucket_add(&slot->stale_opens, is_stale);
            bucket_add(&slot->deadline_opens, is_late);
            break;
        }
        if (now - begun < SPIN_NS)
            continue;
        uint64_t over = deadline < UINT64_MAX - begun ? begun + deadline : UINT64_MAX;
        uint64_t until = least(bucket_due_ns(slot, ticket), least(over, stale));
        if (until > now)
            sleep_until(header, epoch, now, until);
    }
    bucket_add(&slot->stall_ns, now - begun);
    errno = saved;
}

// The bucket is filled when it runs dry, and at the first launch after each heartbeat, so that it cannot earn
// more than it holds while nobody looks. Other launches read no clock.
static inline void charge(struct gate *gate, uint64_t mode, uint64_t cost)
{
    struct gate_slot *slot = gate->slot;
    bucket_add(&slot->launches, 1);
    uint64_t ticket = bucket_take(slot, cost);
    if (mode != GATE_MODE_ENFORCE || bucket_read(&slot->rate) == GATE_OPEN) {
        bucket_add(&slot->granted, cost);
        return;
    }
    if (bucket_read(&gate->header->heartbeat_ns) > bucket_read(&slot->last_refill_ns))
        bucket_refill(slot, monotonic_ns());
    if (!bucket_admits(slot, ticket))
        wait_for_turn(gate, ticket, cost);
}

#endif
