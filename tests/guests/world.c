/* A hook in C that asks its world for everything, and answers with what it was told. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char answer[1024];
static int constructed;

__attribute__((constructor)) static void construct(void) { constructed = 1; }

__attribute__((export_name("mission_abi_v1"))) void marker(void) {}

__attribute__((export_name("mission_alloc"))) void *alloc(size_t size) { return malloc(size ? size : 1); }

__attribute__((export_name("mission_run"))) unsigned long long run(const char *input, size_t size) {
    struct timespec first = {0}, second = {0};
    unsigned char chance[8] = {0};
    clock_gettime(CLOCK_REALTIME, &first);
    clock_gettime(CLOCK_MONOTONIC, &second);
    int entropy = getentropy(chance, sizeof chance);
    int file = open("/etc/passwd", O_RDONLY), file_errno = errno;
    printf("to standard output %d\n", constructed);
    fprintf(stderr, "to standard error, %zu bytes of input\n", size);
    int length = snprintf(answer, sizeof answer,
        "{\"output\":{\"constructed\":%d,\"first_ns\":%lld,\"second_ns\":%lld,\"entropy\":%d,"
        "\"chance\":\"%02x%02x%02x%02x%02x%02x%02x%02x\",\"file\":%d,\"badf\":%d,\"home\":%d,\"root\":%.3f}}",
        constructed, first.tv_sec * 1000000000LL + first.tv_nsec, second.tv_sec * 1000000000LL + second.tv_nsec,
        entropy, chance[0], chance[1], chance[2], chance[3], chance[4], chance[5], chance[6], chance[7],
        file, file_errno == EBADF || file_errno == ENOENT || file_errno == ENOTCAPABLE, getenv("HOME") != NULL,
        sqrt((double)size));
    return (unsigned long long)(unsigned long)answer << 32 | (unsigned)length;
}
