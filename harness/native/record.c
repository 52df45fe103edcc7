/* The loops over a stream's events that make its record. Without compiled code, `reading/body.py`, `reading/timing.py` and
 * `record/arrivals.py` do the same in Python. Allocates nothing: Python passes in buffers and their sizes.
 */
#include "layout.h"

#include <string.h>

/* Number of bytes of the UTF-8 character at `at`; 0 if it is not well-formed (Unicode 15, table 3-7). */
static int utf8(const unsigned char *at, const unsigned char *end) {
    if (*at < 0x80) return 1;
    int size = *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
    if (!size || end - at < size) return 0;
    unsigned char least = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : 0x80, most = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < least || at[1] > most) return 0;
    for (int i = 2; i < size; i++)
        if (at[i] >> 6 != 2) return 0;
    return size;
}

/* Match events that consist of `before`, a JSON string that needs no unescaping and is not empty, and `after`. Starts at
 * `*begin`, stops after `room` events or at the first that does not match, and sets `*begin` to where it stopped. Writes the
 * size and the characters of each event. Returns how many matched. */
int sg_match(const char *body, int64_t length, int64_t *begin, const char *before, int before_length, const char *after,
             int after_length, int64_t largest, int room, int64_t *sizes, int64_t *characters) {
    const char *at = body + *begin, *end = body + length;
    int count = 0;
    while (count < room && end - at >= before_length && !memcmp(at, before, before_length)) {
        const unsigned char *byte = (const unsigned char *)at + before_length;
        int64_t found = 0;
        int size = 1;
        while (byte < (const unsigned char *)end && *byte != '"' && *byte != '\\' && *byte >= 0x20 &&
               (size = utf8(byte, (const unsigned char *)end))) {
            byte += size;
            found++;
        }
        const char *next = (const char *)byte + after_length;
        if (!found || end - (const char *)byte < after_length || memcmp(byte, after, after_length) || next - at > largest) break;
        sizes[count] = next - at;
        characters[count++] = found;
        at = next;
    }
    *begin = at - body;
    return count;
}

/* Write the lowest bytes of a number, the lowest first. Returns where they end. */
static unsigned char *put(uint64_t number, int bytes, unsigned char *out) {
    for (int byte = 0; byte < bytes; byte++) *out++ = number >> 8 * byte;
    return out;
}

/* Write a column of numbers. Returns where it ends: after at most 9 + 8 * count bytes. */
static unsigned char *put_column(const int64_t *values, int count, unsigned char *out) {
    int64_t least = count ? values[0] : 0, most = least;
    for (int i = 1; i < count; i++) {
        if (values[i] < least) least = values[i];
        if (values[i] > most) most = values[i];
    }
    int width = 0;
    for (uint64_t range = (uint64_t)most - (uint64_t)least; range; range >>= 8) width++;
    *out++ = width;
    out = put(least, 8, out);
    for (int byte = 0; byte < width; byte++)
        for (int i = 0; i < count; i++) *out++ = ((uint64_t)values[i] - (uint64_t)least) >> 8 * byte;
    return out;
}

/* Write what `arrivals` stores of `count` events, at least one, before it is deflated. `rows` are as for `pack_rows`, and
 * the first of them is overwritten. Returns the bytes written, at most 16 + (rows + 2) * (9 + 8 * count). */
int sg_pack(const unsigned char *kinds, int64_t *rows, int row_count, int count, unsigned char *out) {
    unsigned char *begin = out;
    int runs = 0;
    out = put(rows[0], 8, put(count, 4, out));
    out = put_column(rows + 1, count - 1, out);
    /* From here on, the first row is room for the runs of equal kinds. */
    for (int i = 0; i < count; i++)
        if (!i || kinds[i] != kinds[i - 1]) rows[runs++] = kinds[i];
    out = put_column(rows, runs, put(runs, 4, out));
    runs = 0;
    for (int i = 0; i < count; i++)
        if (!i || kinds[i] != kinds[i - 1])
            rows[runs++] = 1;
        else
            rows[runs - 1]++;
    out = put_column(rows, runs, out);
    for (int row = 1; row < row_count; row++) out = put_column(rows + (int64_t)row * count, count, out);
    return out - begin;
}

/* Nanoseconds to microseconds, rounded half up like `arrivals.microseconds`. */
static int64_t microseconds(int64_t ns) {
    int64_t up = ns + 500;
    return up / 1000 - (up % 1000 < 0);
}

/* The state of the pass over a stream. */
struct pass {
    int64_t event_end;  /* offset of the next event in the body */
    int64_t arrived_us; /* when the previous event arrived */
    int event;          /* index of the next event */
    int handed;         /* index of the next moment of handing on */
    int after_tool;     /* whether the previous content was a tool's input */
};

/* Add a content chunk to the figures. `at`: when it arrived; `person`: when the person had it. */
static void add_content(struct figures *found, struct pass *pass, int kind, int64_t characters, int64_t at, int64_t person) {
    if (!found->chunks++) {
        found->first = person;
        found->first_wire = at;
    }
    if (kind == TEXT && found->first_text == NONE) found->first_text = person;
    if (pass->after_tool && kind != TOOL)
        found->tool_pause = (found->tool_pause == NONE ? 0 : found->tool_pause) + person - found->last;
    found->characters += characters;
    found->last = person;
    pass->after_tool = kind == TOOL;
}

/* Write the rows of the events that one read completed. Returns the number of content chunks among them. */
static int add_events(const struct timing *stream, struct figures *found, struct pass *pass, int64_t end, int64_t at,
                      int64_t person) {
    int content = 0, events = stream->events;
    for (; pass->event < events && pass->event_end + stream->sizes[pass->event] <= end; pass->event++) {
        int event = pass->event, kind = stream->kinds[event];
        int64_t client_lag = -1, arrived = microseconds(at);
        int64_t size = stream->sizes[event], characters = stream->characters[event];
        pass->event_end += size;
        if (kind <= TOOL) {
            content++;
            if (pass->handed < stream->handed_count) {
                int64_t late = stream->handed[pass->handed++] - stream->origin - at;
                /* Never negative: the offset of the kernel's clock is known only to a few µs. */
                client_lag = microseconds(person + (late > 0 ? late : 0)) - microseconds(person);
            }
            if (person <= stream->until) add_content(found, pass, kind, characters, at, person);
        }
        int64_t *row = stream->rows + event;
        row[0] = arrived - pass->arrived_us;
        row[events] = characters;
        row[2 * events] = size - characters;
        row[3 * events] = microseconds(person) - arrived;
        row[4 * events] = client_lag;
        pass->arrived_us = arrived;
    }
    return content;
}

/* Whether the reader's lag, and not the server or a proxy, brought these chunks into one read. The lag is that of the
 * last chunk, which is less than the time between two chunks however long the reader was away: a part of it counts.
 * `since` is the time from the arrival of the read before. */
static int saturated(int64_t lag, int64_t since, int chunks, int is_first) {
    if (is_first) return lag > FIRST;
    return lag > LATE && since >= TOGETHER && lag > since / (PART * chunks);
}

/* One pass over a stream's reads and the events that each of them completed. Returns the number of events completed. */
int sg_timing(const struct timing *stream, struct figures *found) {
    struct pass pass = {0};
    int64_t hold = NONE, before = 0;
    int held = 0;
    *found = (struct figures){.shown = NONE, .first = NONE, .first_wire = NONE, .first_text = NONE, .last = NONE,
                              .tool_pause = NONE, .lag_max = NONE};
    for (int i = 0; i < stream->read_count; i++) {
        const struct read *read = stream->reads + i;
        int64_t came = read->stamp - stream->offset, lag = 0;
        int64_t at = (read->stamp ? came : read->seen) - stream->origin, person = stream->shown ? stream->shown[i] : at;
        for (; held < stream->hold_count && stream->holds[held] <= read->seen; held++) hold = stream->holds[held];
        if (read->stamp) {
            lag = read->seen - (hold > came ? hold : came);
            found->stamped++;
            found->lag_sum += lag;
            if (lag > found->lag_max) found->lag_max = lag;
        }
        found->shown = person;
        int chunks = add_events(stream, found, &pass, read->end, at, person);
        if (chunks > 1) {
            found->coalesced++;
            found->saturated += read->stamp && hold <= came && saturated(lag, at - before, chunks, i == 0);
        }
        before = at;
    }
    return pass.event;
}
