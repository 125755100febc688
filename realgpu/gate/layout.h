// Printed by `python realgpu/gate/layout.py header`; change layout.py, not this.
#ifndef GATE_LAYOUT_H
#define GATE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_MAGIC UINT64_C(0x45544147554c4944)
#define GATE_ABI_VERSION 1
#define GATE_OPEN UINT64_MAX
#define GATE_LARGEST_COST UINT64_C(0x10000000000)
#define GATE_LARGEST_BURST UINT64_C(0x4000000000000000)
#define GATE_STALE_NS UINT64_C(250000000)
#define GATE_DEFAULT_KERNEL_NS UINT64_C(10000)
#define GATE_MODE_OFF 0
#define GATE_MODE_COUNT 1
#define GATE_MODE_ENFORCE 2
#define GATE_MODE_CALIBRATE 3
#define GATE_COST_BLOCKS 0
#define GATE_COST_LAUNCHES 1
#define GATE_COST_TIME 2
#define GATE_STATE_ABSENT 0
#define GATE_STATE_MAPPED 1
#define GATE_STATE_DRIVER_SEEN 2

struct gate_header {
    _Alignas(64) _Atomic uint64_t magic;  // creator
    _Atomic uint64_t abi_version;  // creator
    _Atomic uint64_t file_bytes;  // creator
    _Atomic uint64_t header_bytes;  // creator
    _Atomic uint64_t slot_bytes;  // creator
    _Atomic uint64_t slot_count;  // creator
    _Atomic uint64_t creator_pid;  // creator
    _Atomic uint64_t creator_start;  // creator
    _Atomic uint64_t heartbeat_ns;  // controller
    _Atomic uint64_t epoch;  // controller
    _Atomic uint64_t period_ns;  // controller
    unsigned char pad_88[40];
};

_Static_assert(offsetof(struct gate_header, magic) == 0, "header.magic");
_Static_assert(offsetof(struct gate_header, abi_version) == 8, "header.abi_version");
_Static_assert(offsetof(struct gate_header, file_bytes) == 16, "header.file_bytes");
_Static_assert(offsetof(struct gate_header, header_bytes) == 24, "header.header_bytes");
_Static_assert(offsetof(struct gate_header, slot_bytes) == 32, "header.slot_bytes");
_Static_assert(offsetof(struct gate_header, slot_count) == 40, "header.slot_count");
_Static_assert(offsetof(struct gate_header, creator_pid) == 48, "header.creator_pid");
_Static_assert(offsetof(struct gate_header, creator_start) == 56, "header.creator_start");
_Static_assert(offsetof(struct gate_header, heartbeat_ns) == 64, "header.heartbeat_ns");
_Static_assert(offsetof(struct gate_header, epoch) == 72, "header.epoch");
_Static_assert(offsetof(struct gate_header, period_ns) == 80, "header.period_ns");
_Static_assert(sizeof(struct gate_header) == 128, "header");

struct gate_slot {
    _Alignas(64) _Atomic uint64_t rate;  // controller
    _Atomic uint64_t burst;  // controller
    _Atomic uint64_t mode;  // controller
    _Atomic uint64_t cost_model;  // controller
    _Atomic uint64_t deadline_ns;  // controller
    _Atomic uint64_t sm_choice;  // controller
    unsigned char pad_48[16];
    _Atomic uint64_t spent;  // gate
    _Atomic uint64_t granted;  // gate
    _Atomic uint64_t last_refill_ns;  // gate
    _Atomic uint64_t launches;  // gate
    unsigned char pad_96[32];
    _Atomic uint64_t graph_launches;  // gate
    _Atomic uint64_t captured_launches;  // gate
    _Atomic uint64_t captured_cost;  // gate
    _Atomic uint64_t blocked;  // gate
    _Atomic uint64_t stall_ns;  // gate
    _Atomic uint64_t deadline_opens;  // gate
    _Atomic uint64_t stale_opens;  // gate
    _Atomic uint64_t unknown_times;  // gate
    _Atomic uint64_t pid;  // gate
    _Atomic uint64_t state;  // gate
    _Atomic uint64_t inflight_waits;  // gate
    unsigned char pad_216[40];
    _Atomic uint64_t iterations;  // worker
    _Atomic uint64_t in_flight;  // worker
    _Atomic uint64_t queue_length;  // worker
    _Atomic uint64_t capture_flag;  // worker
    _Atomic uint64_t ready;  // worker
    _Atomic uint64_t last_batch;  // worker
    _Atomic uint64_t graph_cost;  // worker
    unsigned char pad_312[8];
};

_Static_assert(offsetof(struct gate_slot, rate) == 0, "slot.rate");
_Static_assert(offsetof(struct gate_slot, burst) == 8, "slot.burst");
_Static_assert(offsetof(struct gate_slot, mode) == 16, "slot.mode");
_Static_assert(offsetof(struct gate_slot, cost_model) == 24, "slot.cost_model");
_Static_assert(offsetof(struct gate_slot, deadline_ns) == 32, "slot.deadline_ns");
_Static_assert(offsetof(struct gate_slot, sm_choice) == 40, "slot.sm_choice");
_Static_assert(offsetof(struct gate_slot, spent) == 64, "slot.spent");
_Static_assert(offsetof(struct gate_slot, granted) == 72, "slot.granted");
_Static_assert(offsetof(struct gate_slot, last_refill_ns) == 80, "slot.last_refill_ns");
_Static_assert(offsetof(struct gate_slot, launches) == 88, "slot.launches");
_Static_assert(offsetof(struct gate_slot, graph_launches) == 128, "slot.graph_launches");
_Static_assert(offsetof(struct gate_slot, captured_launches) == 136, "slot.captured_launches");
_Static_assert(offsetof(struct gate_slot, captured_cost) == 144, "slot.captured_cost");
_Static_assert(offsetof(struct gate_slot, blocked) == 152, "slot.blocked");
_Static_assert(offsetof(struct gate_slot, stall_ns) == 160, "slot.stall_ns");
_Static_assert(offsetof(struct gate_slot, deadline_opens) == 168, "slot.deadline_opens");
_Static_assert(offsetof(struct gate_slot, stale_opens) == 176, "slot.stale_opens");
_Static_assert(offsetof(struct gate_slot, unknown_times) == 184, "slot.unknown_times");
_Static_assert(offsetof(struct gate_slot, pid) == 192, "slot.pid");
_Static_assert(offsetof(struct gate_slot, state) == 200, "slot.state");
_Static_assert(offsetof(struct gate_slot, inflight_waits) == 208, "slot.inflight_waits");
_Static_assert(offsetof(struct gate_slot, iterations) == 256, "slot.iterations");
_Static_assert(offsetof(struct gate_slot, in_flight) == 264, "slot.in_flight");
_Static_assert(offsetof(struct gate_slot, queue_length) == 272, "slot.queue_length");
_Static_assert(offsetof(struct gate_slot, capture_flag) == 280, "slot.capture_flag");
_Static_assert(offsetof(struct gate_slot, ready) == 288, "slot.ready");
_Static_assert(offsetof(struct gate_slot, last_batch) == 296, "slot.last_batch");
_Static_assert(offsetof(struct gate_slot, graph_cost) == 304, "slot.graph_cost");
_Static_assert(sizeof(struct gate_slot) == 320, "slot");

struct gate_field {
    const char *name;
    size_t offset;
};

static const struct gate_field GATE_FIELDS[] = {
    {"header.magic", offsetof(struct gate_header, magic)},
    {"header.abi_version", offsetof(struct gate_header, abi_version)},
    {"header.file_bytes", offsetof(struct gate_header, file_bytes)},
    {"header.header_bytes", offsetof(struct gate_header, header_bytes)},
    {"header.slot_bytes", offsetof(struct gate_header, slot_bytes)},
    {"header.slot_count", offsetof(struct gate_header, slot_count)},
    {"header.creator_pid", offsetof(struct gate_header, creator_pid)},
    {"header.creator_start", offsetof(struct gate_header, creator_start)},
    {"header.heartbeat_ns", offsetof(struct gate_header, heartbeat_ns)},
    {"header.epoch", offsetof(struct gate_header, epoch)},
    {"header.period_ns", offsetof(struct gate_header, period_ns)},
    {"slot.rate", offsetof(struct gate_slot, rate)},
    {"slot.burst", offsetof(struct gate_slot, burst)},
    {"slot.mode", offsetof(struct gate_slot, mode)},
    {"slot.cost_model", offsetof(struct gate_slot, cost_model)},
    {"slot.deadline_ns", offsetof(struct gate_slot, deadline_ns)},
    {"slot.sm_choice", offsetof(struct gate_slot, sm_choice)},
    {"slot.spent", offsetof(struct gate_slot, spent)},
    {"slot.granted", offsetof(struct gate_slot, granted)},
    {"slot.last_refill_ns", offsetof(struct gate_slot, last_refill_ns)},
    {"slot.launches", offsetof(struct gate_slot, launches)},
    {"slot.graph_launches", offsetof(struct gate_slot, graph_launches)},
    {"slot.captured_launches", offsetof(struct gate_slot, captured_launches)},
    {"slot.captured_cost", offsetof(struct gate_slot, captured_cost)},
    {"slot.blocked", offsetof(struct gate_slot, blocked)},
    {"slot.stall_ns", offsetof(struct gate_slot, stall_ns)},
    {"slot.deadline_opens", offsetof(struct gate_slot, deadline_opens)},
    {"slot.stale_opens", offsetof(struct gate_slot, stale_opens)},
    {"slot.unknown_times", offsetof(struct gate_slot, unknown_times)},
    {"slot.pid", offsetof(struct gate_slot, pid)},
    {"slot.state", offsetof(struct gate_slot, state)},
    {"slot.inflight_waits", offsetof(struct gate_slot, inflight_waits)},
    {"slot.iterations", offsetof(struct gate_slot, iterations)},
    {"slot.in_flight", offsetof(struct gate_slot, in_flight)},
    {"slot.queue_length", offsetof(struct gate_slot, queue_length)},
    {"slot.capture_flag", offsetof(struct gate_slot, capture_flag)},
    {"slot.ready", offsetof(struct gate_slot, ready)},
    {"slot.last_batch", offsetof(struct gate_slot, last_batch)},
    {"slot.graph_cost", offsetof(struct gate_slot, graph_cost)},
};

#endif
