/* A stand-in for libcuda.so.1 with one GPU: it is asked what it is, and launched on. */
#include "../gate/fake_driver.c"
#include "../mps/fake_libcuda.c"

int cuDeviceGetCount(int *count)
{
    *count = number("FAKE_CUDA_GPUS", 1);
    if (*count == -1)
        abort();
    return 0;
}

int cuDeviceGetName(char *name, int length, int device)
{
    (void)device;
    strncpy(name, "NVIDIA H100 80GB HBM3", (size_t)length);
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
    (void)device;
    for (int i = 0; i < 16; i++)
        uuid[i] = (unsigned char)(i * 0x11);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    (void)device;
    *bytes = (size_t)80 << 30;
    return 0;
}
