// The three functions that ref10 wants from libsodium's utils.c, which would bring an operating system with it.
// Constant time: none of them branches on, or indexes by, the bytes it is given.

#include <stddef.h>

#include "utils.h"

static unsigned char differing(const volatile unsigned char *one, const volatile unsigned char *two, size_t length) {
    unsigned char bits = 0;
    for (size_t i = 0; i < length; i++) {
        bits |= one[i] ^ (two ? two[i] : 0);
    }
    return bits;
}

void sodium_memzero(void *const place, const size_t length) {
    volatile unsigned char *bytes = place;  // volatile: a compiler would leave out what nobody reads again
    for (size_t i = 0; i < length; i++) {
        bytes[i] = 0;
    }
}

// 0 when equal, -1 when not.
int sodium_memcmp(const void *const one, const void *const two, size_t length) {
    return -((differing(one, two, length) + 0xff) >> 8);
}

// 1 when all are zero, 0 when not.
int sodium_is_zero(const unsigned char *bytes, const size_t length) {
    return 1 - ((differing(bytes, NULL, length) + 0xff) >> 8);
}
