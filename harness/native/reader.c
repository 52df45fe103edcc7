/* The compiled reader: reads many sockets for `drive/wire/compiled.py`, and notes for each read when the kernel
 * received it and when it was read. Makes no decisions and decodes no events.
 *
 * A reading thread reads each socket that is ready into its inbox, and writes the descriptors of sockets that need Python
 * into a pipe. Most reads need no decision: they cost Python nothing, and a busy Python does not delay them. If nearly every
 * read needs a decision, Python calls `sg_read_ready` instead, which saves waking a second thread.
 *
 * Python allocates the inboxes. The inbox of a watched socket may be accessed only while the lock is held. Pointers to
 * inboxes are kept only in epoll, and are not used after `sg_unwatch`.
 *
 * `framing.c` follows what is read: HTTP's chunks, or TLS records.
 */
#define _GNU_SOURCE
#include "framing.h"

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

#define LONGEST_WAIT INT64_C(2000000) /* ns for which the thread gives way in a batch, however long Python hurries */

enum {
    LEAST = 4096,   /* an inbox with less room than this is full */
    BEHIND = 3,     /* after so many full batches in a row, the thread no longer gives way */
    SEGMENT = 1448, /* bytes of a full TCP segment; with a smaller allowance, C reports the socket so that Python renews it */
};

struct reader {
    pthread_mutex_t lock; /* recursive: Python may unwatch a socket while it takes the inbox */
    pthread_t thread;
    int32_t epoll;
    int32_t wake;     /* an eventfd that wakes the thread */
    int32_t report;   /* the pipe for descriptors; Python closes it */
    int32_t threaded; /* whether there is a thread */
    int32_t stopping; /* whether the thread must end */
    int32_t full;     /* the latest batches in a row that were full */
};

/* Until when Python hurries, CLOCK_MONOTONIC ns. */
static int64_t hurries_until;

int sg_reader_size(void) { return sizeof(struct reader); }

void sg_lock(struct reader *reader) { pthread_mutex_lock(&reader->lock); }

void sg_unlock(struct reader *reader) { pthread_mutex_unlock(&reader->lock); }

/* Edge-triggered: level-triggered epoll would report every socket again at each poll. */
static int poll_for(struct reader *reader, int operation, struct inbox *inbox) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = inbox};
    return epoll_ctl(reader->epoll, operation, inbox->descriptor, &event) ? errno : 0;
}

/* Start reading a socket, or go on after `sg_unwatch`. Returns an errno. */
int sg_watch(struct reader *reader, struct inbox *inbox) {
    sg_lock(reader);
    inbox->watched = 1;
    inbox->reported = inbox->full = 0;
    int fault = poll_for(reader, EPOLL_CTL_ADD, inbox);
    sg_unlock(reader);
    return fault;
}

/* Go on reading after Python has taken the inbox. Modifying the registration makes the edge-triggered epoll report data that
 * arrived while the inbox was full. */
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

static int64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return nanoseconds(&now);
}

/* For the next `ns` nanoseconds, Python sends a request or connects: the reading thread gives way, since what Python waits for
 * has no kernel stamp. */
void sg_hurry(int64_t ns) { __atomic_store_n(&hurries_until, monotonic() + ns, __ATOMIC_RELAXED); }

/* If Python hurries, let it go first if it shares our core and is ready; if it sleeps, this returns at once. `*since` is when
 * this was first done in a batch; 0: not yet. */
static void give_way(int64_t *since) {
    int64_t now = monotonic();
    if (now >= __atomic_load_n(&hurries_until, __ATOMIC_RELAXED)) return;
    if (!*since) *since = now;
    if (now - *since < LONGEST_WAIT) sched_yield();
}

static int64_t stamp_of(struct msghdr *message) {
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    struct timespec time;
    if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SO_TIMESTAMPNS ||
        control->cmsg_len < CMSG_LEN(sizeof time))
        return 0;
    memcpy(&time, CMSG_DATA(control), sizeof time);
    return nanoseconds(&time);
}

/* Whether one of the markers lies between `from` and `end`. */
static int marked(const struct inbox *inbox, const char *from, const char *end) {
    for (int i = 0; i < inbox->markers; i++)
        if (memmem(from, end - from, inbox->marker[i], inbox->marker_lengths[i])) return 1;
    return 0;
}

/* Read a socket once. Returns whether the socket needs Python; sets `*more` if there may be more to read. */
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
        if (inbox->records) keep_rest(inbox);
        return inbox->ended = inbox->full = 1;
    }
    inbox->seen = monotonic();
    inbox->allowance -= size;
    inbox->received += size;
    if (size == (ssize_t)free_room.iov_len) *more = 1;
    /* A marker may have begun in the read before. */
    const char *from = inbox->raw + inbox->length - inbox->longest;
    if (from < inbox->raw) from = inbox->raw;
    int64_t stamp = stamp_of(&message);
    int lost = 0, told = 0, before = inbox->count;
    if (inbox->records)
        told = keep_records(inbox, size, stamp);
    else
        lost = keep(inbox, inbox->raw + used, size, stamp);
    used = inbox->length + inbox->tail;
    inbox->full = lost || RAW - used < LEAST || inbox->count == READS || inbox->allowance < SEGMENT;
    if (inbox->records && inbox->count == before) return inbox->full; /* no whole record: there is nothing to decrypt */
    if (inbox->report_all || inbox->full || told) return 1;
    if (from < inbox->raw + inbox->head.end) from = inbox->raw + inbox->head.end;
    return marked(inbox, from, inbox->raw + used);
}

/* Read now what the kernel has for one socket, whether or not the thread has been told of it. */
void sg_drain(struct reader *reader, struct inbox *inbox) {
    int64_t before;
    int more = 0;
    sg_lock(reader);
    do {
        before = inbox->received;
        if (inbox->watched && !inbox->full) read_once(inbox, &more);
    } while (inbox->received > before);
    sg_unlock(reader);
}

/* Read a ready socket if it is watched. Returns its descriptor if it must be reported, otherwise -1. */
static int32_t read_ready(struct reader *reader, const struct epoll_event *ready) {
    struct inbox *inbox = ready->data.ptr;
    int32_t report = -1;
    sg_lock(reader);
    if (inbox && inbox->watched && !inbox->full) {
        int more = ready->events != EPOLLIN;
        if (read_once(inbox, &more) && !inbox->reported) {
            inbox->reported = 1;
            report = inbox->descriptor;
        }
        if (more && !inbox->full) poll_for(reader, EPOLL_CTL_MOD, inbox);
    }
    sg_unlock(reader);
    return report;
}

/* Read those of the ready sockets that are watched. Returns the number of descriptors written to `report`. */
static int read_all(struct reader *reader, const struct epoll_event *ready, int found, int32_t *report) {
    int count = 0;
    int64_t gives_way_since = 0;
    reader->full = found == AT_ONCE ? reader->full + 1 : 0;
    for (int i = 0; i < found; i++) {
        /* A thread that is behind does not give way: data that waits too long in the kernel shares a stamp with the data
         * after it. */
        if (reader->threaded && reader->full < BEHIND) give_way(&gives_way_since);
        int32_t descriptor = read_ready(reader, ready + i);
        if (descriptor >= 0) report[count++] = descriptor;
    }
    return count;
}

static void *run(void *argument) {
    struct reader *reader = argument;
    struct epoll_event ready[AT_ONCE];
    int32_t report[AT_ONCE];
    /* If the thread shares a core with Python, SCHED_BATCH makes it wait until Python sleeps, at most a few milliseconds. So
     * it does not delay Python's sends and wake-ups; accuracy does not suffer, since the kernel stamps the packets. Who
     * started us with another policy, such as a real-time one, keeps it. */
    if (sched_getscheduler(0) == SCHED_OTHER) sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    while (!__atomic_load_n(&reader->stopping, __ATOMIC_ACQUIRE)) {
        int count = read_all(reader, ready, epoll_wait(reader->epoll, ready, AT_ONCE, -1), report);
        if (count && write(reader->report, report, count * sizeof *report) < 0) break; /* Python has closed its end */
    }
    return NULL;
}

/* Without a thread: read all sockets that are ready. Returns the number of descriptors written to `report`, at most AT_ONCE. */
int sg_read_ready(struct reader *reader, int32_t *report) {
    struct epoll_event ready[AT_ONCE];
    return read_all(reader, ready, epoll_wait(reader->epoll, ready, AT_ONCE, 0), report);
}

static int start_thread(struct reader *reader) {
    sigset_t all, before;
    sigfillset(&all); /* in the new thread; Python's threads handle signals */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&reader->thread, NULL, run, reader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fault;
}

static int give_back(struct reader *reader, int fault) {
    if (reader->epoll >= 0) close(reader->epoll);
    if (reader->wake >= 0) close(reader->wake);
    return fault;
}

/* Start. The thread writes descriptors of sockets that need Python to `report`; -1: no thread. Returns an errno; then it has
 * kept nothing. */
int sg_start(struct reader *reader, int report) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&reader->lock, &recursive);
    reader->stopping = reader->full = 0;
    reader->report = report;
    reader->threaded = report >= 0;
    reader->epoll = epoll_create1(EPOLL_CLOEXEC);
    reader->wake = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (reader->epoll < 0 || reader->wake < 0 || epoll_ctl(reader->epoll, EPOLL_CTL_ADD, reader->wake, &event))
        return give_back(reader, errno);
    int fault = reader->threaded ? start_thread(reader) : 0;
    return fault ? give_back(reader, fault) : 0;
}

int sg_epoll(struct reader *reader) { return reader->epoll; }

void sg_stop(struct reader *reader) {
    __atomic_store_n(&reader->stopping, 1, __ATOMIC_RELEASE);
    eventfd_write(reader->wake, 1);
    if (reader->threaded) pthread_join(reader->thread, NULL);
    close(reader->epoll);
    close(reader->wake);
}
