/* Reads of many plain sockets, for `drain.py`: what came, when the kernel got it and when we did, nothing decided.
 *
 * A thread of its own reads from each socket that is ready, once, into the stream's own room, and writes the descriptors of
 * those that Python has to look at into a pipe: all others cost it nothing, and no decoding keeps the thread from reading.
 * Where nearly each read is to be looked at, Python calls `sg_read` instead, and no second thread has to be woken.
 * A stream that is `full` is read no more until Python has looked. Whoever touches a stream that is watched holds the
 * reader's lock. A stream is a structure of fixed size that Python made; no pointer to it is kept beyond epoll's,
 * and none followed after `sg_leave`.
 *
 * Python's HTTP parser reads the head of an answer, and whatever is not the plain course of chunked transfer. That course
 * is followed here, so that it is known which read brought how much of the body; and from the beginning of a chunk on, a
 * `bare` stream is freed of its framing here, too, until something else comes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READS = 256, RAW = 32768, LEAST = 4096, MARKER = 64, AT_ONCE = 128, SEGMENT = 1448 };

struct read {
    int64_t end;   /* in the body; where `framed` is 0, Python has to say */
    int64_t stamp; /* CLOCK_REALTIME ns by the kernel; 0: none came */
    int64_t seen;  /* CLOCK_MONOTONIC ns, when it was read */
};

/* Where in a chunk we are; DATA's bytes are those that count. */
enum { SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF };

struct stream {
    int64_t body;   /* bytes of it so far */
    int64_t seen;   /* the last read, as in `read`, also if it brought nothing of the body */
    int64_t chunk;  /* bytes of it that are still to come */
    int64_t room;   /* bytes that may be read; less than a segment is told of, so that none is read in small pieces */
    int32_t framed; /* `body` is right, and goes on to be counted */
    int32_t bare;   /* `raw` holds the body alone, and after it `rest` bytes of a line that is not whole, or not plain */
    int32_t rest;
    int32_t torn;   /* a chunk did not end where it said */
    int32_t where;
    int32_t descriptor;
    int32_t watched;
    int32_t told;  /* of, and Python has not looked yet */
    int32_t full;  /* there is no room, the place of a read in the body is not known, or nothing more comes */
    int32_t alert; /* tell of every read */
    int32_t ended; /* the peer sends no more */
    int32_t error; /* an errno */
    int32_t length, count; /* of `raw` and `reads`; Python sets them to 0 when it has taken all */
    int32_t marker_length;
    char marker[MARKER]; /* tell of a read that completes this */
    struct read reads[READS];
    char raw[RAW];
};

struct reader {
    pthread_mutex_t lock; /* recursive: who looks at a stream may leave it */
    pthread_t thread;
    int32_t poll, stop, news; /* an epoll; an eventfd that ends the thread; a pipe's end, which the owner closes */
    int32_t alone, over;      /* has a thread; which is to end */
};

/* What `drain.py` has to agree with before it may call anything else. */
int sg_sizes(int *reader) {
    *reader = sizeof(struct reader);
    return sizeof(struct stream);
}

void sg_lock(struct reader *reader) { pthread_mutex_lock(&reader->lock); }

void sg_unlock(struct reader *reader) { pthread_mutex_unlock(&reader->lock); }

/* Told once of what comes: else each poll asks every socket of the one before, mostly in vain, whether there is more. */
static int look(struct reader *reader, int how, struct stream *stream) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = stream};
    return epoll_ctl(reader->poll, how, stream->descriptor, &event) ? errno : 0;
}

int sg_watch(struct reader *reader, struct stream *stream) {
    sg_lock(reader);
    stream->watched = 1;
    stream->told = stream->full = 0;
    int fault = look(reader, EPOLL_CTL_ADD, stream);
    sg_unlock(reader);
    return fault;
}

/* Python has looked at it. */
void sg_resume(struct reader *reader, struct stream *stream) {
    if (stream->full && stream->watched) look(reader, EPOLL_CTL_MOD, stream); /* tells of what came meanwhile */
    stream->told = stream->full = 0;
}

void sg_leave(struct reader *reader, struct stream *stream) {
    sg_lock(reader);
    stream->watched = 0;
    epoll_ctl(reader->poll, EPOLL_CTL_DEL, stream->descriptor, NULL);
    sg_unlock(reader);
}

static int64_t nanoseconds(const struct timespec *time) { return time->tv_sec * INT64_C(1000000000) + time->tv_nsec; }

static int64_t stamp_of(struct msghdr *message) {
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    struct timespec time;
    if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SO_TIMESTAMPNS ||
        control->cmsg_len < CMSG_LEN(sizeof time))
        return 0;
    memcpy(&time, CMSG_DATA(control), sizeof time);
    return nanoseconds(&time);
}

static int digit(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 'a' - 'A';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Follow chunked transfer; 0 at anything but chunk after chunk: at the last one, an extension, an error. */
static int follow(struct stream *stream, char *at, char *end) {
    char *line = at - stream->rest; /* of a size, where we are in one */
    int plain = 1;
    while (plain && at < end) {
        if (stream->where == DATA) {
            int64_t here = end - at < stream->chunk ? end - at : stream->chunk;
            if (stream->bare) {
                memmove(stream->raw + stream->length, at, here);
                stream->length += here;
            }
            stream->body += here;
            stream->chunk -= here;
            at += here;
            if (!stream->chunk) stream->where = DATA_CR;
        } else if (stream->where == SIZE && *at != '\r') {
            int value = digit(*at++);
            plain = value >= 0 && !(stream->chunk >> 32);
            if (plain) stream->chunk = stream->chunk << 4 | value;
        } else {
            plain = *at++ == (stream->where == SIZE || stream->where == DATA_CR ? '\r' : '\n');
            stream->torn = !plain && stream->where > DATA;
            if (stream->where == SIZE && !stream->chunk) plain = 0;
            if (plain && stream->where == DATA_LF) {
                stream->where = SIZE;
                line = at;
            } else if (plain) {
                stream->where++;
            }
        }
    }
    if (stream->bare) {
        stream->rest = stream->where < DATA ? end - line : 0;
        memmove(stream->raw + stream->length, line, stream->rest);
    }
    return plain;
}

/* The body begins with these bytes, which Python has read; whether the rest can be counted here. */
int sg_count(struct stream *stream, char *data, int length) {
    stream->body = stream->chunk = stream->where = 0;
    return stream->framed = follow(stream, data, data + length);
}

/* Whether Python has to look at the stream now; `*more`: whether something may be left. */
static int take(struct stream *stream, int *more) {
    char control[128];
    int used = stream->length + stream->rest;
    struct iovec there = {stream->raw + used, RAW - used < stream->room ? RAW - used : stream->room};
    struct msghdr message = {
        .msg_iov = &there, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(stream->descriptor, &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (size <= 0) {
        stream->error = size ? errno : 0;
        return stream->ended = stream->full = 1;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    stream->seen = nanoseconds(&now);
    stream->room -= size;
    if (size == (ssize_t)there.iov_len) *more = 1;
    int64_t before = stream->body;
    /* The marker may have begun in the read before. */
    const char *from = stream->raw + stream->length - stream->marker_length;
    if (from < stream->raw) from = stream->raw;
    if (!stream->bare) stream->length += size;
    stream->framed = stream->framed && follow(stream, stream->raw + used, stream->raw + used + size);
    if (stream->body > before || !stream->framed)
        stream->reads[stream->count++] = (struct read){stream->body, stamp_of(&message), stream->seen};
    used = stream->length + stream->rest;
    stream->full = !stream->framed || RAW - used < LEAST || stream->count == READS || stream->room < SEGMENT;
    if (stream->alert || stream->full) return 1;
    return memmem(from, stream->raw + used - from, stream->marker, stream->marker_length) != NULL;
}

/* Read from all of these that are watched; how many descriptors are in `told` then. */
static int drain(struct reader *reader, const struct epoll_event *ready, int found, int32_t *told) {
    int count = 0;
    sg_lock(reader);
    for (int i = 0; i < found; i++) {
        struct stream *stream = ready[i].data.ptr;
        if (!stream || !stream->watched || stream->full) continue;
        int more = ready[i].events != EPOLLIN;
        if (take(stream, &more) && !stream->told) {
            stream->told = 1;
            told[count++] = stream->descriptor;
        }
        if (more && !stream->full) look(reader, EPOLL_CTL_MOD, stream);
    }
    sg_unlock(reader);
    return count;
}

static void *run(void *argument) {
    struct reader *reader = argument;
    struct epoll_event ready[AT_ONCE];
    int32_t told[AT_ONCE];
    /* On a core that it shares with Python, it waits until Python sleeps, or for a few milliseconds: the kernel has the
     * times, and what Python sends, or is woken for, is not to wait for each packet. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    while (!__atomic_load_n(&reader->over, __ATOMIC_ACQUIRE)) {
        int count = drain(reader, ready, epoll_wait(reader->poll, ready, AT_ONCE, -1), told);
        if (count && write(reader->news, told, count * sizeof *told) < 0) break; /* nobody is there to look any more */
    }
    return NULL;
}

/* Without a thread: read from all that are ready; how many descriptors are in `told`, which has room for AT_ONCE. */
int sg_read(struct reader *reader, int32_t *told) {
    struct epoll_event ready[AT_ONCE];
    return drain(reader, ready, epoll_wait(reader->poll, ready, AT_ONCE, 0), told);
}

/* Begin to read; `news` is where a thread is to write the descriptors that Python has to look at, -1: no thread. An errno. */
int sg_start(struct reader *reader, int news) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&reader->lock, &recursive);
    reader->over = 0;
    reader->news = news;
    reader->alone = news >= 0;
    reader->poll = epoll_create1(EPOLL_CLOEXEC);
    reader->stop = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (reader->poll < 0 || reader->stop < 0 || epoll_ctl(reader->poll, EPOLL_CTL_ADD, reader->stop, &event)) return errno;
    if (!reader->alone) return 0;
    sigset_t all, before;
    sigfillset(&all); /* signals are for Python's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&reader->thread, NULL, run, reader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fault;
}

int sg_poll(struct reader *reader) { return reader->poll; }

void sg_stop(struct reader *reader) {
    __atomic_store_n(&reader->over, 1, __ATOMIC_RELEASE);
    eventfd_write(reader->stop, 1);
    if (reader->alone) pthread_join(reader->thread, NULL);
    close(reader->poll);
    close(reader->stop);
}
