/* A stand-in for libcuda.so.1: answers as the environment says. */
#include <stdlib.h>

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned flags) { return flags ? 1 : number("FAKE_CUDA_INIT", 0); }

int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

int cuDeviceGet(int *device, int ordinal) {
    if (ordinal != 0) return 101;
    *device = 40;
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (device != 40) return 101;
    if (attribute == 16) *value = number("FAKE_CUDA_SMS", 132);
    else if (attribute == 133) *value = number("FAKE_CUDA_MPS", 1);
    else return 1;
    return attribute == 133 ? number("FAKE_CUDA_MPS_CODE", 0) : 0;
}

#ifndef WITHOUT_NAMES
int cuGetErrorName(int code, const char **name) {
    if (code == 805) *name = "CUDA_ERROR_MPS_CONNECTION_FAILED";
    else if (code == 101) *name = "CUDA_ERROR_INVALID_DEVICE";
    else return 1;
    return 0;
}
#endif
