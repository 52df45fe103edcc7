#ifndef INFLATE_H
#define INFLATE_H

#include <stdint.h>

/* Why `inflate_zlib` stopped. NO_ROOM: `room` bytes were written, and there are more. UNREAD: damaged, or a rare form of
 * deflate that only Python's zlib reads. */
enum { WHOLE, NO_ROOM, UNREAD };

int inflate_zlib(const unsigned char *in, int64_t length, unsigned char *out, int64_t room, int64_t *written);

#endif
