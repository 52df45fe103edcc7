/* The numbers and structures that C and Python share. `layout.py` repeats them; Python compares the two when it loads the
 * library (`sg_number`).
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdint.h>

enum {
    READS = 256,   /* reads that an inbox holds */
    RAW = 32768,   /* bytes that an inbox holds */
    MARKER = 64,   /* bytes of the longest marker */
    MARKERS = 8,   /* markers of a stream at most */
    AT_ONCE = 128, /* sockets that one poll reports at most */
};

/* States of the parser of HTTP's chunked transfer coding: in a chunk's size, at the LF after it, in the data, at the CR
 * and the LF after the data. */
enum { SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF };

/* Codes of kinds of events, as stored; those up to TOOL are content. */
enum { TEXT = 0, TOOL = 2, LAST_KIND = 4 };

enum {
    MOST_EVENTS = 1 << 18, /* of one stream */
    WIDEST_EVENT = 34,     /* bytes of an event in an arrivals blob, at most */
};

/* A read of several chunks is the generator's own fault if its lag is more than LATE and more than a PART-th of the
 * time between two chunks, unless they came within TOGETHER. For a stream's first read that time is unknown: more than
 * FIRST. In ns, but for PART. */
#define LATE INT64_C(500000)
#define TOGETHER INT64_C(1000000)
#define PART 4
#define FIRST INT64_C(10000000)
#define STALL 250000 /* µs: the shortest wait that counts as a stall */
#define NONE INT64_MIN /* in place of a figure that a stream does not have */
#define DIFFERENT 256  /* texts of a column of rows */

/* One read from a socket. */
struct read {
    int64_t end;   /* bytes of the answer's body after this read; in an inbox that is not counted, the end in `raw` */
    int64_t stamp; /* CLOCK_REALTIME ns: when the kernel received its last segment; 0: the kernel gave none */
    int64_t seen;  /* CLOCK_MONOTONIC ns: when it was read */
};

/* The data that was read from one socket and that Python has not taken yet. Python allocates it. */
struct inbox {
    int64_t body;       /* bytes of the body so far; correct while `counted` */
    int64_t seen;       /* `seen` of the last read, even if it added nothing to the body */
    int64_t chunk_left; /* bytes of the current chunk that have not arrived */
    int64_t allowance;  /* bytes that may still be read; Python sets it */
    int64_t received;   /* bytes read from the socket, framing included, that Python has not taken */
    struct read head;   /* `end`: bytes of the answer's head at the beginning of `raw`, if C has read it; 0: it has not */
    int32_t unattended; /* if the first read has all of a usual head, do not report it, and remove the framing from there on */
    int32_t counted;    /* `body` is correct, and C goes on counting */
    int32_t stripped;   /* `raw` holds only body, followed by `tail` bytes of an incomplete or unusual line */
    int32_t tail;
    int32_t torn;  /* a chunk did not end where its size said */
    int32_t state; /* of the parser: SIZE … DATA_LF */
    int32_t descriptor;
    int32_t watched;
    int32_t reported;   /* reported to Python, which has not taken it yet */
    int32_t full;       /* C does not read until Python has taken it: no room, body not counted, or the stream has ended */
    int32_t report_all; /* report every read to Python */
    int32_t ended;      /* the peer has closed its side */
    int32_t error;      /* errno of the failed read; 0: none */
    int32_t length;     /* bytes in `raw` that Python has not taken */
    int32_t count;      /* reads in `reads` that Python has not taken */
    int32_t chunks;     /* chunks whose framing was removed and that Python has not taken */
    int32_t longest;     /* of the markers, bytes */
    int32_t markers;     /* how many there are; with none, no read is reported for one */
    int32_t records;     /* `raw` holds whole TLS records, followed by `tail` bytes of one that is not complete */
    int32_t shortest;    /* of the records so far, bytes; 0: the next one is the first that counts */
    int32_t enough;      /* bytes of records that are worth decrypting, at most RAW; as many reads of RAW / READS bytes each */
    int32_t marker_lengths[MARKERS];
    char marker[MARKERS][MARKER]; /* report a read that completes one of these */
    struct read reads[READS];
    char raw[RAW];
};

/* The input of `sg_timing`: one stream's reads and events. Times are ns. */
struct timing {
    const struct read *reads;
    const int64_t *shown;  /* run's clock: when the person had each read; NULL: as soon as it arrived */
    const int64_t *holds;  /* CLOCK_MONOTONIC: when reading went on after each intended pause */
    const int64_t *handed; /* CLOCK_MONOTONIC: when the client library handed on each content chunk */
    const int64_t *sizes;  /* of each event, bytes */
    const unsigned char *kinds;
    const int64_t *characters;
    int64_t *rows;  /* out: five rows of `events` numbers, as `arrivals.pack_rows` takes them */
    int64_t offset; /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
    int64_t origin; /* CLOCK_MONOTONIC at the run's zero */
    int64_t until;  /* run's clock: when the person left */
    int32_t read_count, hold_count, handed_count, events;
};

/* The output of `sg_timing`. Times are ns on the run's clock; NONE in place of a missing figure. */
struct figures {
    int64_t shown; /* when the person had the last read */
    int64_t chunks, characters, first, first_wire, first_text, last, tool_pause;
    int64_t coalesced, saturated, stamped, lag_sum, lag_max;
};

/* The output of `sg_content`: as `arrivals.ContentEvents`. */
struct content {
    int64_t *starts, *at, *perceived_at, *client_lag, *text;
    int64_t room;    /* events for which all but `starts` have room */
    int32_t linked;  /* `perceived_at` was written; if not, all events were perceived as they came */
    int32_t handed;  /* `client_lag` was written; if not, no event was handed on */
    int32_t full;    /* a stream did not fit */
};

/* The output of `sg_waits`: columns of `reader_model.waits`. */
struct waits {
    double *count, *time, *longest, *ratio;
};

/* The output of `sg_bursts`: columns with a value for each stream. */
struct bursts {
    int64_t *count, *lone, *stall, *stalled_at;
    int64_t together, silent; /* as long as this is an event still in its burst, and a gap a silence */
};

/* Where `sg_count_over_time` counts. */
struct bins {
    int64_t *counts;
    const int64_t *bucket_of;
    int64_t size, bins, buckets;
    double width; /* ns */
};

/* A part of `bytes` of `struct rows`. NULL, in place of a text: from 0 to -1. */
struct piece {
    int64_t start, end;
};

/* Rows of SQLite as columns, by `sg_rows`. Values of a column are one after another. */
struct rows {
    int64_t most, room, text_columns, number_columns; /* there is room for so many rows and bytes */
    int64_t *ids;
    struct piece *blobs;
    struct piece *different; /* by column: the first DIFFERENT texts in it */
    int64_t *found;          /* by column: how many of these there are */
    int64_t *codes;          /* by column and row: which of these */
    double *numbers;         /* by column and row: NaN for NULL */
    unsigned char *bytes;
    int64_t count, used, size; /* rows and bytes so far; `size` has each text as often as it occurs */
};

#endif
