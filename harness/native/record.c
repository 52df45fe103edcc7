/* The loops over a stream's events that make its record, for `clients/reading.py`, `clients/timing.py` and `arrivals.py`,
 * which do the same in Python where nothing was compiled. No memory is allocated here: Python says where to write, and how
 * much fits.
 */
#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed character of UTF-8 that begins here, 0 for what is none (Unicode 15, table 3-7). */
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

/* How many events from `*begin` on are `before`, a string of JSON that stands for itself and is not empty, and `after`;
 * `sizes` and `characters` of at most `room` of them; `*begin` is then where the next one does. */
int sg_follow(const char *body, int64_t length, int64_t *begin, const char *before, int before_length, const char *after,
              int after_length, int64_t largest, int room, int64_t *sizes, int64_t *characters) {
    const char *at = body + *begin, *end = body + length;
    int count = 0;
    while (count < room && end - at >= before_length && !memcmp(at, before, before_length)) {
        const unsigned char *from = (const unsigned char *)at + before_length, *byte = from;
        int64_t said = 0;
        int size = 1;
        while (byte < (const unsigned char *)end && *byte != '"' && *byte != '\\' && *byte >= 0x20 &&
               (size = utf8(byte, (const unsigned char *)end))) {
            byte += size;
            said++;
        }
        const char *next = (const char *)byte + after_length;
        if (!said || end - (const char *)byte < after_length || memcmp(byte, after, after_length) || next - at > largest) break;
        sizes[count] = next - at;
        characters[count++] = said;
        at = next;
    }
    *begin = at - body;
    return count;
}

/* `rows` columns of `count` numbers each, one after another, as `arrivals` stores them; the bytes written, which are at
 * most rows × (9 + 8 × count). The first number of the first column is left out. */
int sg_pack(const int64_t *values, int rows, int count, unsigned char *out) {
    unsigned char *begin = out;
    for (int row = 0; row < rows; row++, values += count) {
        int first = !row;
        int64_t least = first < count ? values[first] : 0, most = least;
        for (int i = first; i < count; i++) {
            if (values[i] < least) least = values[i];
            if (values[i] > most) most = values[i];
        }
        int width = 0;
        for (uint64_t range = (uint64_t)most - (uint64_t)least; range; range >>= 8) width++;
        *out++ = width;
        for (int byte = 0; byte < 8; byte++) *out++ = (uint64_t)least >> 8 * byte;
        for (int byte = 0; byte < width; byte++)
            for (int i = first; i < count; i++) *out++ = ((uint64_t)values[i] - (uint64_t)least) >> 8 * byte;
    }
    return out - begin;
}

enum { TEXT = 0, TOOL = 2 }; /* codes of kinds; those up to TOOL are content */
static const int64_t NONE = INT64_MIN, LATE = 500000;

/* What `timing.py` makes the record of: NONE where there is none. */
struct figures {
    int64_t shown; /* the last read, as the person had it */
    int64_t chunks, characters, first, first_wire, first_text, last, tool_pause;
    int64_t coalesced, saturated, stamped, lag_sum, lag_max;
};

static int64_t microseconds(int64_t ns) {
    int64_t up = ns + 500;
    return up / 1000 - (up % 1000 < 0);
}

/* One pass over the reads of a stream and the events that each of them completed; all times but `handed`, `holds` and those
 * of the reads are on the run's clock. `shown` (NULL: the wire's time) is when the person had each read, `until` when they
 * left. `rows` are five of `events` numbers, as `arrivals.pack_rows` takes them. How many events it found a read for. */
int sg_timing(const int64_t *reads, int count, const int64_t *shown, const int64_t *holds, int held, const int64_t *handed,
              int given, int64_t offset, int64_t origin, const int64_t *sizes, const unsigned char *kinds,
              const int64_t *characters, int events, int64_t until, int64_t *rows, struct figures *found) {
    int64_t end = 0, before = 0, hold = NONE;
    int event = 0, tool = 0;
    *found = (struct figures){.shown = NONE, .first = NONE, .first_wire = NONE, .first_text = NONE, .last = NONE,
                              .tool_pause = NONE, .lag_max = NONE};
    for (int read = 0; read < count; read++, reads += 3) {
        int64_t stamp = reads[1], seen = reads[2], came = stamp - offset, lag = 0;
        int64_t at = (stamp ? came : seen) - origin, person = shown ? shown[read] : at;
        for (; held && *holds <= seen; held--) hold = *holds++;
        if (stamp) {
            lag = seen - (hold > came ? hold : came);
            found->stamped++;
            found->lag_sum += lag;
            if (lag > found->lag_max) found->lag_max = lag;
        }
        found->shown = person;
        int content = 0;
        for (; event < events && end + sizes[event] <= reads[0]; event++) {
            int64_t behind = -1;
            int kind = kinds[event];
            end += sizes[event];
            if (kind <= TOOL) {
                content++;
                if (given) {
                    int64_t late = *handed++ - origin - at; /* the offset of the kernel's clock is known to a few µs only */
                    given--;
                    behind = microseconds(person + (late > 0 ? late : 0)) - microseconds(person);
                }
                if (person <= until) {
                    if (!found->chunks++) found->first = person, found->first_wire = at;
                    if (kind == TEXT && found->first_text == NONE) found->first_text = person;
                    if (tool && kind != TOOL) found->tool_pause = (found->tool_pause == NONE ? 0 : found->tool_pause) + person - found->last;
                    found->characters += characters[event];
                    found->last = person;
                    tool = kind == TOOL;
                }
            }
            int64_t arrived = microseconds(at);
            rows[event] = arrived - before;
            rows[events + event] = characters[event];
            rows[2 * events + event] = sizes[event] - characters[event];
            rows[3 * events + event] = microseconds(person) - arrived;
            rows[4 * events + event] = behind;
            before = arrived;
        }
        if (content > 1) {
            found->coalesced++;
            found->saturated += stamp && lag > LATE && hold <= came;
        }
    }
    return event;
}
