/* Sends the next token of each of some streams, and notes when: what the benchmarks' server does most. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

struct sending {
    const char *next; /* the next token */
    int64_t *sent;    /* when `send` of each token returned, CLOCK_MONOTONIC ns; room for all tokens */
    int32_t sock, size; /* `size`: bytes of a token */
    int32_t step;     /* bytes from one token to the next; 0: the same bytes again and again */
    int32_t count;    /* tokens sent so far */
    int32_t failed;   /* errno of the token that could not be sent, or was sent in part */
};

/* Returns how many failed. */
int send_tokens(struct sending **streams, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        struct sending *stream = streams[i];
        ssize_t size = send(stream->sock, stream->next, stream->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size != stream->size) {
            stream->failed = size < 0 ? errno : EAGAIN;
            failed++;
            continue;
        }
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        stream->sent[stream->count++] = now.tv_sec * 1000000000LL + now.tv_nsec;
        stream->next += stream->step;
    }
    return failed;
}
