// A library that asks for the next definition of a name after itself, as interposers do.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

int answer(void)
{
    return 1;
}

int next_answer(void)
{
    int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "answer");
    return next != NULL ? next() : -1;
}
