"""Three small kernels in PTX, compiled by the driver: where blocks run, how fast SMs compute and copy.

The text is for sm_80 and runs on everything later, since the driver compiles it for the device it finds
(PTX ISA, `.target`). Special registers: `%smid`, `%clock64` (PTX ISA, special registers).
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import Final

from realgpu.checks.driver import MULTIPROCESSOR_COUNT, Device

MOST_SMS: Final = 1024
"""Numbers of SMs that are counted; an H100 has 132, and numbers may have holes."""

_ACCUMULATORS: Final = 8
_UNROLLED: Final = 8
FLOPS_A_ROUND: Final = 2 * _ACCUMULATORS * _UNROLLED
"""Of one thread in a round of `multiply_add`."""

_SPIN_CYCLES: Final = 400_000
"""How long a block stays in `sm_ids`, about 0.25 ms: long enough for all others of its wave to be placed."""

_COMPUTE_ROUNDS: Final = 2000
_COMPUTE_THREADS: Final = 256
_COMPUTE_BLOCKS_A_SM: Final = 8
_COPY_BYTES: Final = 128 * 2**20
"""Above any L2 cache (an H100 has 50 MB)."""

_COPY_THREADS: Final = 512
_COPY_BLOCKS_A_SM: Final = 4
_MOST_LAUNCHES: Final = 4096


def _fused() -> str:
    lines = (
        f"    fma.rn.f32 %a{number}, %a{number}, %scale, %shift;"
        for _ in range(_UNROLLED)
        for number in range(_ACCUMULATORS)
    )
    return "\n".join(lines)


def _summed() -> str:
    return "\n".join(f"    add.rn.f32 %a0, %a0, %a{number};" for number in range(1, _ACCUMULATORS))


def _filled() -> str:
    """Begin each chain with another number, so that the compiler cannot take two for one."""
    numbers = (struct.pack(">f", 1.0 + number).hex().upper() for number in range(_ACCUMULATORS))
    return "\n".join(f"    add.rn.f32 %a{place}, %start, 0f{number};" for place, number in enumerate(numbers))


PTX: Final = f"""\
.version 7.0
.target sm_80
.address_size 64

// counts[%smid] += 1 for each block; blocks stay for so many cycles.
.visible .entry sm_ids(.param .u64 counts, .param .u64 cycles)
{{
    .reg .pred %waits, %silent;
    .reg .b32 %thread, %sm;
    .reg .b64 %table, %place, %limit, %begun, %now;
    ld.param.u64 %table, [counts];
    ld.param.u64 %limit, [cycles];
    mov.u64 %begun, %clock64;
    mov.u32 %sm, %smid;
    mov.u32 %thread, %tid.x;
    setp.ne.u32 %silent, %thread, 0;
    @%silent bra STAY;
    setp.ge.u32 %silent, %sm, {MOST_SMS};
    @%silent bra STAY;
    cvta.to.global.u64 %table, %table;
    mad.wide.u32 %place, %sm, 4, %table;
    red.global.add.u32 [%place], 1;
STAY:
    mov.u64 %now, %clock64;
    sub.u64 %now, %now, %begun;
    setp.lt.u64 %waits, %now, %limit;
    @%waits bra STAY;
    ret;
}}

// Each thread: so many rounds of {FLOPS_A_ROUND // 2} fused multiply-adds in {_ACCUMULATORS} chains.
.visible .entry multiply_add(.param .u64 out, .param .u32 rounds)
{{
    .reg .pred %more;
    .reg .b32 %left, %thread, %block, %width, %index;
    .reg .b64 %table, %place;
    .reg .f32 %a<{_ACCUMULATORS}>, %scale, %shift, %start;
    ld.param.u64 %table, [out];
    ld.param.u32 %left, [rounds];
    mov.u32 %thread, %tid.x;
    mov.u32 %block, %ctaid.x;
    mov.u32 %width, %ntid.x;
    mad.lo.u32 %index, %block, %width, %thread;
    cvt.rn.f32.u32 %start, %index;
    mov.f32 %scale, 0f3F7FFF58;
    mov.f32 %shift, 0f358637BD;
{_filled()}
ROUND:
{_fused()}
    sub.u32 %left, %left, 1;
    setp.ne.u32 %more, %left, 0;
    @%more bra ROUND;
{_summed()}
    cvta.to.global.u64 %table, %table;
    mad.wide.u32 %place, %index, 4, %table;
    st.global.f32 [%place], %a0;
    ret;
}}

// Copies `vectors` pieces of 16 bytes, threads in turn.
.visible .entry copy(.param .u64 to, .param .u64 from, .param .u32 vectors)
{{
    .reg .pred %done;
    .reg .b32 %thread, %block, %width, %blocks, %index, %stride, %end, %v<4>;
    .reg .b64 %source, %target, %in, %out;
    ld.param.u64 %target, [to];
    ld.param.u64 %source, [from];
    ld.param.u32 %end, [vectors];
    cvta.to.global.u64 %target, %target;
    cvta.to.global.u64 %source, %source;
    mov.u32 %thread, %tid.x;
    mov.u32 %block, %ctaid.x;
    mov.u32 %width, %ntid.x;
    mov.u32 %blocks, %nctaid.x;
    mad.lo.u32 %index, %block, %width, %thread;
    mul.lo.u32 %stride, %blocks, %width;
NEXT:
    setp.ge.u32 %done, %index, %end;
    @%done bra END;
    mad.wide.u32 %in, %index, 16, %source;
    mad.wide.u32 %out, %index, 16, %target;
    ld.global.v4.u32 {{%v0, %v1, %v2, %v3}}, [%in];
    st.global.v4.u32 [%out], {{%v0, %v1, %v2, %v3}};
    add.u32 %index, %index, %stride;
    bra NEXT;
END:
    ret;
}}
"""


class Kernels:
    """The kernels, loaded on a device.

    Attributes
    ----------
    sm_count
        SMs that this process sees: under MPS those of its cap.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.sm_count = device.attribute(MULTIPROCESSOR_COUNT)
        module = device.load(PTX)
        self._sm_ids = device.kernel(module, "sm_ids")
        self._multiply_add = device.kernel(module, "multiply_add")
        self._copy = device.kernel(module, "copy")
        self._counts = device.allocate(4 * MOST_SMS)
        threads = self.sm_count * _COMPUTE_BLOCKS_A_SM * _COMPUTE_THREADS
        self._sums = device.allocate(4 * threads)
        self._source: int | None = None
        self._target = 0

    def sm_ids(self, stream: ctypes.c_void_p | None = None) -> list[int]:
        """Return the numbers of the SMs that blocks ran on, twice as many blocks as fit."""
        self.device.clear(self._counts, 4 * MOST_SMS)
        self.device.synchronize()
        arguments = (ctypes.c_uint64(self._counts), ctypes.c_uint64(_SPIN_CYCLES))
        self.device.launcher(self._sm_ids, 4 * self.sm_count, 1024, arguments, stream)()
        self.device.wait_for(stream)
        counts = struct.unpack(f"<{MOST_SMS}I", self.device.read(self._counts, 4 * MOST_SMS))
        return [number for number, count in enumerate(counts) if count > 0]

    def smallest(self) -> Callable[[], None]:
        """Return what launches a kernel of one block that does next to nothing."""
        arguments = (ctypes.c_uint64(self._counts), ctypes.c_uint64(1))
        return self.device.launcher(self._sm_ids, 1, 32, arguments)

    def compute(
        self, rounds: int = _COMPUTE_ROUNDS, stream: ctypes.c_void_p | None = None
    ) -> tuple[Callable[[], None], float]:
        """Return what launches `multiply_add` on all SMs, and the floating-point operations of a launch."""
        blocks = self.sm_count * _COMPUTE_BLOCKS_A_SM
        arguments = (ctypes.c_uint64(self._sums), ctypes.c_uint32(rounds))
        launch = self.device.launcher(self._multiply_add, blocks, _COMPUTE_THREADS, arguments, stream)
        return launch, float(blocks * _COMPUTE_THREADS) * rounds * FLOPS_A_ROUND

    def compute_rate(self, seconds: float, stream: ctypes.c_void_p | None = None) -> float:
        """Return single-precision operations a second, measured over so many seconds or a little more."""
        launch, operations = self.compute(stream=stream)
        return self._rate(launch, operations, seconds, stream)

    def copy_rate(self, seconds: float, stream: ctypes.c_void_p | None = None) -> float:
        """Return bytes a second that SMs copy in device memory: read and written count once each."""
        if self._source is None:
            self._source, self._target = (self.device.allocate(_COPY_BYTES) for _ in range(2))
            self.device.clear(self._source, _COPY_BYTES)
        places = (ctypes.c_uint64(self._target), ctypes.c_uint64(self._source))
        arguments = (*places, ctypes.c_uint32(_COPY_BYTES // 16))
        blocks = self.sm_count * _COPY_BLOCKS_A_SM
        launch = self.device.launcher(self._copy, blocks, _COPY_THREADS, arguments, stream)
        return self._rate(launch, 2.0 * _COPY_BYTES, seconds, stream)

    def _rate(
        self, launch: Callable[[], None], work: float, seconds: float, stream: ctypes.c_void_p | None
    ) -> float:
        launch()
        self.device.wait_for(stream)
        count = 1
        while True:
            begun_s = time.monotonic()
            for _ in range(count):
                launch()
            self.device.wait_for(stream)
            took_s = time.monotonic() - begun_s
            if took_s >= seconds or count >= _MOST_LAUNCHES:
                return count * work / took_s
            count = min(_MOST_LAUNCHES, max(2 * count, int(count * seconds / max(took_s, 1e-6)) + 1))
