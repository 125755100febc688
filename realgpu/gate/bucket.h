// The arithmetic of the token bucket. It reads no clock: whoever calls says what time it is.
//
// Two counters that only grow stand for the bucket: `granted` (earned) and `spent` (charged). A launch takes
// a ticket, what was spent before it, and may pass once more than that is granted. So launches pass in the
// order of their tickets, and one launch may take the bucket into debt, however much it costs. bucket.py is
// the same arithmetic in Python.
#ifndef GATE_BUCKET_H
#define GATE_BUCKET_H

#include <stdbool.h>

#include "layout.h"

#define BUCKET_SECOND UINT64_C(1000000000)

static inline uint64_t bucket_read(_Atomic uint64_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static inline void bucket_add(_Atomic uint64_t *field, uint64_t amount)
{
    atomic_fetch_add_explicit(field, amount, memory_order_relaxed);
}

static inline uint64_t bucket_take(struct gate_slot *slot, uint64_t cost)
{
    return atomic_fetch_add_explicit(&slot->spent, cost, memory_order_relaxed);
}

static inline bool bucket_admits(struct gate_slot *slot, uint64_t ticket)
{
    return (int64_t)(bucket_read(&slot->granted) - ticket) > 0;
}

// Nanoseconds in which `amount` is earned, rounded up.
static inline uint64_t bucket_earning_ns(uint64_t rate, uint64_t amount)
{
    unsigned __int128 ns = ((unsigned __int128)amount * BUCKET_SECOND + rate - 1) / rate;
    return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

// Grant what was earned since the last refill, as far as the bucket holds it.
//
// Only the time that the grant took is used up, so that fractions of a token are never lost, however often
// this is called. A thread that comes too late to move the time leaves the grant to the one that did.
static inline void bucket_refill(struct gate_slot *slot, uint64_t now)
{
    uint64_t last = bucket_read(&slot->last_refill_ns);
    if (now <= last)
        return;
    uint64_t rate = bucket_read(&slot->rate), burst = bucket_read(&slot->burst);
    if (burst > GATE_LARGEST_BURST)
        burst = GATE_LARGEST_BURST;
    int64_t room = (int64_t)(bucket_read(&slot->spent) + burst - bucket_read(&slot->granted));
    uint64_t gain = 0, until = now;
    if (room > 0 && rate > 0) {
        unsigned __int128 earned = (unsigned __int128)rate * (now - last) / BUCKET_SECOND;
        if (earned >= (unsigned __int128)room) {
            gain = (uint64_t)room;
        } else {
            gain = (uint64_t)earned;
            until = last + bucket_earning_ns(rate, gain);
        }
    }
    if (atomic_compare_exchange_strong_explicit(&slot->last_refill_ns, &last, until, memory_order_relaxed,
                                                memory_order_relaxed))
        bucket_add(&slot->granted, gain);
}

// When the ticket will be admitted at the present rate; UINT64_MAX: never.
static inline uint64_t bucket_due_ns(struct gate_slot *slot, uint64_t ticket)
{
    uint64_t rate = bucket_read(&slot->rate), last = bucket_read(&slot->last_refill_ns);
    int64_t missing = (int64_t)(ticket + 1 - bucket_read(&slot->granted));
    if (missing <= 0)
        return last;
    if (rate == 0)
        return UINT64_MAX;
    uint64_t wait = bucket_earning_ns(rate, (uint64_t)missing);
    return wait < UINT64_MAX - last ? last + wait : UINT64_MAX;
}

#endif
