// Launches from several threads at once, first all that the gate can do, then counts.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                   void **, void **);
uint64_t fake_calls(int index);

static int launches;
static const char *const KERNELS[] = {"a", "b", "c", "d", "e", "f", "g"};

static void *launch_all(void *stream)
{
    for (int i = 0; i < launches; i++)
        cuLaunchKernel((void *)KERNELS[i % 7], 1 + (unsigned)i % 3, 1, 1, 1, 1, 1, 0, stream, NULL, NULL);
    return NULL;
}

int main(int count, char **words)
{
    (void)count;
    int threads = atoi(words[1]);
    launches = atoi(words[2]);
    pthread_t *all = calloc((size_t)threads, sizeof *all);
    for (int i = 0; i < threads; i++)
        pthread_create(&all[i], NULL, launch_all, (void *)(intptr_t)(16 + i));
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    free(all);
    printf("%d", (int)fake_calls(0));
    return 0;
}
