// The bucket's arithmetic behind plain functions, on a slot and at a time that the caller gives.
#include "bucket.h"

void probe_set(struct gate_slot *slot, uint64_t rate, uint64_t burst, uint64_t spent, uint64_t granted,
               uint64_t last)
{
    slot->rate = rate;
    slot->burst = burst;
    slot->spent = spent;
    slot->granted = granted;
    slot->last_refill_ns = last;
}

void probe_refill(struct gate_slot *slot, uint64_t now)
{
    bucket_refill(slot, now);
}

uint64_t probe_granted(struct gate_slot *slot)
{
    return slot->granted;
}

uint64_t probe_last(struct gate_slot *slot)
{
    return slot->last_refill_ns;
}

uint64_t probe_due(struct gate_slot *slot, uint64_t ticket)
{
    return bucket_due_ns(slot, ticket);
}

int probe_admits(struct gate_slot *slot, uint64_t ticket)
{
    return bucket_admits(slot, ticket);
}
