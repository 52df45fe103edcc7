/* Reads many plain sockets for `drive/wire/compiled.py`: what came, when the kernel received it and when it was read.
 * Decides nothing and decodes no events.
 *
 * A thread reads each socket that is ready into its inbox, and writes the descriptors of those that Python has to look at
 * into a pipe. Most reads need no decision, so they cost Python nothing, and a busy Python does not delay them. Where nearly
 * every read needs a decision, Python calls `sg_read_ready` instead, which saves waking a second thread.
 *
 * Python allocates the inboxes. Whoever touches the inbox of a watched socket holds the lock. No pointer to an inbox is
 * kept except in epoll, and that one is not followed after `sg_unwatch`.
 *
 * Python's HTTP parser reads the head of an answer and everything unusual in its chunked transfer coding. C follows the usual
 * course (chunk after chunk) to know how much of the body each read brought; once a `stripped` inbox is at the beginning of a
 * chunk, C also removes the framing, until something unusual comes.
 */
#define _GNU_SOURCE
#include "layout.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LEAST = 4096,   /* an inbox with less room than this is full */
    SEGMENT = 1448, /* bytes of a full TCP segment: with a smaller allowance Python is asked for more */
};

struct reader {
    pthread_mutex_t lock; /* recursive: Python may leave a socket while it takes its inbox */
    pthread_t thread;
    int32_t epoll;
    int32_t wake;     /* an eventfd that ends the thread's waiting */
    int32_t report;   /* where the thread writes descriptors; the owner closes it */
    int32_t threaded; /* there is a thread */
    int32_t stopping; /* which is to end */
};

int sg_reader_size(void) { return sizeof(struct reader); }

void sg_lock(struct reader *reader) { pthread_mutex_lock(&reader->lock); }

void sg_unlock(struct reader *reader) { pthread_mutex_unlock(&reader->lock); }

/* Edge-triggered: level-triggered epoll would report every socket again at each poll. */
static int poll_for(struct reader *reader, int operation, struct inbox *inbox) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = inbox};
    return epoll_ctl(reader->epoll, operation, inbox->descriptor, &event) ? errno : 0;
}

/* Begin to read a socket, or go on after `sg_unwatch`. Returns an errno. */
int sg_watch(struct reader *reader, struct inbox *inbox) {
    sg_lock(reader);
    inbox->watched = 1;
    inbox->reported = inbox->full = 0;
    int fault = poll_for(reader, EPOLL_CTL_ADD, inbox);
    sg_unlock(reader);
    return fault;
}

/* Python has taken what there was. Modifying the registration makes epoll report what came while the inbox was full. */
void sg_resume(struct reader *reader, struct inbox *inbox) {
    if (inbox->full && inbox->watched) poll_for(reader, EPOLL_CTL_MOD, inbox);
    inbox->reported = inbox->full = 0;
}

void sg_unwatch(struct reader *reader, struct inbox *inbox) {
    sg_lock(reader);
    inbox->watched = 0;
    epoll_ctl(reader->epoll, EPOLL_CTL_DEL, inbox->descriptor, NULL);
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

static int hex_digit(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 'a' - 'A';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The chunk's data among the bytes from `at` on: count it, and keep it in a stripped inbox. Returns how many bytes. */
static int64_t chunk_data(struct inbox *inbox, const char *at, const char *end) {
    int64_t size = end - at < inbox->chunk_left ? end - at : inbox->chunk_left;
    if (inbox->stripped) {
        memmove(inbox->raw + inbox->length, at, size);
        inbox->length += size;
    }
    inbox->body += size;
    inbox->chunk_left -= size;
    if (!inbox->chunk_left) inbox->state = DATA_CR;
    return size;
}

/* Follow chunked transfer. Returns 0 at anything unusual: the last chunk, an extension, an error. */
static int follow(struct inbox *inbox, char *at, char *end) {
    char *line = at - inbox->tail; /* where the current chunk-size line begins */
    int usual = 1;
    while (usual && at < end) {
        if (inbox->state == DATA) {
            at += chunk_data(inbox, at, end);
        } else if (inbox->state == SIZE && *at != '\r') {
            int digit = hex_digit(*at++);
            usual = digit >= 0 && !(inbox->chunk_left >> 32);
            if (usual) inbox->chunk_left = inbox->chunk_left << 4 | digit;
        } else {
            usual = *at++ == (inbox->state == SIZE || inbox->state == DATA_CR ? '\r' : '\n');
            inbox->torn = !usual && inbox->state > DATA;
            if (inbox->state == SIZE && !inbox->chunk_left) usual = 0;
            if (usual && inbox->state == DATA_LF) {
                inbox->state = SIZE;
                line = at;
            } else if (usual) {
                inbox->state++;
            }
        }
    }
    if (inbox->stripped) {
        inbox->tail = inbox->state < DATA ? end - line : 0;
        memmove(inbox->raw + inbox->length, line, inbox->tail);
    }
    return usual;
}

/* Count a chunked body that begins with these bytes, which Python has read. Returns whether C can count the rest. */
int sg_count(struct inbox *inbox, char *data, int length) {
    inbox->body = inbox->chunk_left = inbox->state = 0;
    return inbox->counted = follow(inbox, data, data + length);
}

/* Count what was read to `fresh`, and keep its times. */
static void keep(struct inbox *inbox, char *fresh, ssize_t size, int64_t stamp) {
    int64_t before = inbox->body;
    if (!inbox->stripped) inbox->length += size;
    inbox->counted = inbox->counted && follow(inbox, fresh, fresh + size);
    if (inbox->body > before || !inbox->counted)
        inbox->reads[inbox->count++] = (struct read){inbox->body, stamp, inbox->seen};
}

/* Read a socket once. Returns whether Python has to look at it now; sets `*more` where something may be left to read. */
static int read_once(struct inbox *inbox, int *more) {
    char control[128];
    int used = inbox->length + inbox->tail;
    struct iovec free_room = {inbox->raw + used, RAW - used < inbox->allowance ? RAW - used : inbox->allowance};
    struct msghdr message = {
        .msg_iov = &free_room, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(inbox->descriptor, &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (size <= 0) {
        inbox->error = size ? errno : 0;
        return inbox->ended = inbox->full = 1;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    inbox->seen = nanoseconds(&now);
    inbox->allowance -= size;
    if (size == (ssize_t)free_room.iov_len) *more = 1;
    /* The marker may have begun in the read before. */
    const char *from = inbox->raw + inbox->length - inbox->marker_length;
    if (from < inbox->raw) from = inbox->raw;
    keep(inbox, inbox->raw + used, size, stamp_of(&message));
    used = inbox->length + inbox->tail;
    inbox->full = !inbox->counted || RAW - used < LEAST || inbox->count == READS || inbox->allowance < SEGMENT;
    if (inbox->report_all || inbox->full) return 1;
    return memmem(from, inbox->raw + used - from, inbox->marker, inbox->marker_length) != NULL;
}

/* Read all these sockets that are watched. Returns how many descriptors for Python are in `report` then. */
static int read_all(struct reader *reader, const struct epoll_event *ready, int found, int32_t *report) {
    int count = 0;
    sg_lock(reader);
    for (int i = 0; i < found; i++) {
        struct inbox *inbox = ready[i].data.ptr;
        if (!inbox || !inbox->watched || inbox->full) continue;
        int more = ready[i].events != EPOLLIN;
        if (read_once(inbox, &more) && !inbox->reported) {
            inbox->reported = 1;
            report[count++] = inbox->descriptor;
        }
        if (more && !inbox->full) poll_for(reader, EPOLL_CTL_MOD, inbox);
    }
    sg_unlock(reader);
    return count;
}

static void *run(void *argument) {
    struct reader *reader = argument;
    struct epoll_event ready[AT_ONCE];
    int32_t report[AT_ONCE];
    /* On a core that the thread shares with Python, SCHED_BATCH makes it wait until Python sleeps, or for a few milliseconds.
     * That costs no accuracy, since the kernel has stamped the packets; and Python's sends and wake-ups are not delayed. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    while (!__atomic_load_n(&reader->stopping, __ATOMIC_ACQUIRE)) {
        int count = read_all(reader, ready, epoll_wait(reader->epoll, ready, AT_ONCE, -1), report);
        if (count && write(reader->report, report, count * sizeof *report) < 0) break; /* Python has closed its end */
    }
    return NULL;
}

/* Without a thread: read all sockets that are ready. Returns how many descriptors are in `report`, which holds AT_ONCE. */
int sg_read_ready(struct reader *reader, int32_t *report) {
    struct epoll_event ready[AT_ONCE];
    return read_all(reader, ready, epoll_wait(reader->epoll, ready, AT_ONCE, 0), report);
}

/* Begin. `report` is where the thread writes the descriptors that Python has to look at; -1: no thread. Returns an errno. */
int sg_start(struct reader *reader, int report) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&reader->lock, &recursive);
    reader->stopping = 0;
    reader->report = report;
    reader->threaded = report >= 0;
    reader->epoll = epoll_create1(EPOLL_CLOEXEC);
    reader->wake = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (reader->epoll < 0 || reader->wake < 0 || epoll_ctl(reader->epoll, EPOLL_CTL_ADD, reader->wake, &event)) return errno;
    if (!reader->threaded) return 0;
    sigset_t all, before;
    sigfillset(&all); /* signals are for Python's thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&reader->thread, NULL, run, reader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fault;
}

int sg_epoll(struct reader *reader) { return reader->epoll; }

void sg_stop(struct reader *reader) {
    __atomic_store_n(&reader->stopping, 1, __ATOMIC_RELEASE);
    eventfd_write(reader->wake, 1);
    if (reader->threaded) pthread_join(reader->thread, NULL);
    close(reader->epoll);
    close(reader->wake);
}
