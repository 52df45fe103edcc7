/* Reads the arrivals blobs of many streams at once. `record/arrivals.py` says what is in a blob, and does the same in Python
 * for a blob that this refuses: so it refuses whatever is unusual, and Python says what is wrong with it.
 */
#include "inflate.h"
#include "layout.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    HEAD = 12,   /* bytes of the number of events and the first time */
    COLUMN = 9,  /* bytes before a column's values: their width and base */
    AROUND = 1024,
};

#define LARGEST (INT64_C(1) << 44)  /* of times in a blob, µs; also the least, negative */
#define MOMENTS (INT64_C(1) << 53)

/* What is left of an inflated blob. */
struct rest {
    const unsigned char *at, *end;
};

/* A column of `count` values: the lowest byte of each, then the next byte of each, … */
struct column {
    const unsigned char *bytes;
    int64_t count, base;
    int width;
};

static int64_t number(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
    return (int64_t)value;
}

/* Take a column from the rest. Returns whether it is there, no wider than `widest`, and its base within the bounds. */
static int take_column(struct rest *rest, int64_t count, int widest, int64_t low, int64_t high, struct column *found) {
    if (rest->end - rest->at < COLUMN) return 0;
    *found = (struct column){rest->at + COLUMN, count, number(rest->at + 1, 8), rest->at[0]};
    rest->at += COLUMN;
    if (found->width > widest || rest->end - rest->at < found->width * count || found->base < low || found->base > high) return 0;
    rest->at += found->width * count;
    return 1;
}

static int64_t value_of(const struct column *column, int64_t i) {
    int64_t value = column->base;
    for (int byte = 0; byte < column->width; byte++) value += (int64_t)column->bytes[byte * column->count + i] << 8 * byte;
    return value;
}

/* Write the column's values. Returns whether none is above `high`. */
static int unpack(const struct column *column, int64_t high, int64_t *out) {
    const unsigned char *byte = column->bytes;
    int64_t count = column->count, base = column->base, most = base;
    switch (column->width) { /* the usual widths */
        case 0: for (int64_t i = 0; i < count; i++) out[i] = base; break;
        case 1: for (int64_t i = 0; i < count; i++) out[i] = base + byte[i]; break;
        case 2: for (int64_t i = 0; i < count; i++) out[i] = base + (byte[i] | byte[count + i] << 8); break;
        case 3: for (int64_t i = 0; i < count; i++) out[i] = base + (byte[i] | byte[count + i] << 8 | byte[2 * count + i] << 16); break;
        default: for (int64_t i = 0; i < count; i++) out[i] = value_of(column, i);
    }
    if (column->width)
        for (int64_t i = 0; i < count; i++) most = out[i] > most ? out[i] : most;
    return most <= high;
}

/* Keep only the events of content, and the text only of text: `codes` and `lengths` are runs of equal kinds.
 * Returns how many events are left. */
static int64_t keep_content(const struct column *codes, const struct column *lengths, const struct content *to, int64_t at) {
    int64_t from = at, *rows[] = {to->at, to->text, to->perceived_at, to->client_lag};
    int row_count = to->handed ? 4 : to->linked ? 3 : 2;
    for (int64_t run = 0; run < codes->count; run++) {
        int64_t code = value_of(codes, run), length = value_of(lengths, run);
        if (code <= TOOL) {
            for (int row = 0; row < row_count && at != from; row++) memmove(rows[row] + at, rows[row] + from, length * sizeof **rows);
            if (code != TEXT) memset(to->text + at, 0, length * sizeof *to->text);
            at += length;
        }
        from += length;
    }
    return at;
}

/* Whether the runs have codes of kinds, and lengths that add up to the number of events. */
static int add_up(const struct column *codes, const struct column *lengths, int64_t count) {
    int64_t sum = 0;
    for (int64_t run = 0; run < codes->count; run++) {
        if (value_of(codes, run) > LAST_KIND) return 0;
        sum += value_of(lengths, run);
    }
    return sum == count;
}

/* Read an inflated blob of `count` events to the place `at`. Returns where its content ends, or -1 if it is refused. */
static int64_t add_stream(struct rest rest, int64_t count, struct content *to, int64_t at) {
    struct column gaps, codes, lengths, characters, overhead, lag, client;
    int64_t moment = number(rest.at + 4, 8), *times = to->at + at, *seen = to->perceived_at + at;
    rest.at += HEAD;
    if (!take_column(&rest, count - 1, 6, -LARGEST, LARGEST, &gaps) || rest.end - rest.at < 4) return -1;
    int64_t runs = number(rest.at, 4);
    rest.at += 4;
    if (runs < 1 || runs > count) return -1;
    if (!take_column(&rest, runs, 1, 0, LAST_KIND, &codes) || !take_column(&rest, runs, 3, 1, MOST_EVENTS, &lengths)) return -1;
    if (!take_column(&rest, count, 6, 0, INT64_C(1) << 40, &characters)) return -1;
    if (!take_column(&rest, count, 6, INT64_MIN, INT64_MAX, &overhead)) return -1; /* not read */
    if (!take_column(&rest, count, 6, -LARGEST, LARGEST, &lag)) return -1;
    int handed = rest.at < rest.end;
    if (handed && (!take_column(&rest, count, 6, -1, LARGEST, &client) || rest.at != rest.end)) return -1;
    if (moment < -MOMENTS || moment > MOMENTS || !add_up(&codes, &lengths, count)) return -1;
    if (!unpack(&gaps, LARGEST, times + 1) || !unpack(&characters, INT64_C(1) << 40, to->text + at)) return -1;
    times[0] = moment;
    for (int64_t i = 1; i < count; i++) { /* no overflow: MOST_EVENTS times LARGEST is less than 63 bits */
        times[i] += times[i - 1];
        if (times[i] < -MOMENTS || times[i] > MOMENTS) return -1;
    }
    if (!to->linked && (lag.base || lag.width)) { /* the first stream on a link: none was behind one before */
        memcpy(to->perceived_at, to->at, at * sizeof *to->at);
        to->linked = 1;
    }
    if (to->linked && !unpack(&lag, LARGEST, seen)) return -1;
    for (int64_t i = 0; i < count && to->linked; i++) seen[i] += times[i];
    if (!to->handed && handed) {
        for (int64_t i = 0; i < at; i++) to->client_lag[i] = -1;
        to->handed = 1;
    }
    if (handed && !unpack(&client, LARGEST, to->client_lag + at)) return -1;
    for (int64_t i = 0; i < count && to->handed && !handed; i++) to->client_lag[at + i] = -1;
    return keep_content(&codes, &lengths, to, at);
}

/* The number of events that an inflated blob's beginning says; -1: none that a stream has. */
static int64_t events_of(const unsigned char *inflated, int64_t length) {
    int64_t count = length < 4 ? 0 : number(inflated, 4);
    return count < 1 || count > MOST_EVENTS ? -1 : count;
}

/* Write the number of events of each blob, which only its beginning says. `blobs` are concatenated, of these lengths; an
 * empty one has none. Returns how many could be read before one that could not. */
int64_t sg_event_counts(const unsigned char *blobs, const int64_t *lengths, int64_t blob_count, int64_t *counts) {
    for (int64_t i = 0; i < blob_count; blobs += lengths[i++]) {
        unsigned char head[4];
        int64_t written;
        counts[i] = 0;
        if (!lengths[i]) continue;
        if (blobs[0] != VERSION || inflate_zlib(blobs + 1, lengths[i] - 1, head, sizeof head, &written) == UNREAD) return i;
        counts[i] = events_of(head, written);
        if (counts[i] < 0) return i;
    }
    return blob_count;
}

/* Write the content of many streams, one after another, and where each begins: `to` has room for `to->room` events, content
 * or not, and for one more beginning than there are blobs. `perceived_at` is only written if a stream was on a link, and
 * `client_lag` if a client library handed on a chunk. The blobs are as in `sg_event_counts`. Returns how many were read
 * before one that is refused, or that does not fit: then `to->full` is set. */
int64_t sg_content(const unsigned char *blobs, const int64_t *lengths, int64_t blob_count, struct content *to) {
    int64_t size = 1 << 16, at = 0, read = 0; /* an event has at most 34 bytes */
    unsigned char *inflated = malloc(size);
    to->linked = to->handed = to->full = 0;
    for (to->starts[0] = 0; inflated && read < blob_count; blobs += lengths[read++], to->starts[read] = at) {
        int64_t length = lengths[read] - 1, written, count;
        if (length < 0) continue;
        if (blobs[0] != VERSION) break;
        int ended = inflate_zlib(blobs + 1, length, inflated, size, &written);
        if ((count = events_of(inflated, written)) < 0 || (to->full = count > to->room - at)) break;
        if (ended == NO_ROOM && count * WIDEST_EVENT + AROUND > size) {
            unsigned char *larger = realloc(inflated, size = count * WIDEST_EVENT + AROUND);
            if (!larger) break;
            inflated = larger;
            ended = inflate_zlib(blobs + 1, length, inflated, size, &written);
        }
        if (ended != WHOLE || written < HEAD) break;
        int64_t next = add_stream((struct rest){inflated, inflated + written}, count, to, at);
        if (next < 0) break;
        at = next;
    }
    free(inflated);
    return read;
}
