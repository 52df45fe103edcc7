/* Follows the framing of what was read, up to its first unusual byte: HTTP's chunks, and TLS records, whose headers are not
 * encrypted. Python's HTTP parser handles the head of an answer and everything unusual in its chunked transfer coding. C
 * follows ordinary chunks to know how many bytes of the body each read has. If the inbox is `stripped`, C also removes the
 * framing. It may begin with both by itself after a head that is usual, so that Python gets head and body together at the end.
 * TLS records are decrypted by Python, many at a time, so C notes when each was complete.
 */
#include "framing.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define STATUS "HTTP/1.1 200 "

enum {
    STATUS_BYTES = sizeof STATUS - 1,
    LINES = 100,         /* of a usual head, at most; Python has a higher limit */
    LONGEST = 32,        /* bytes of a chunk-size line; a longer one, such as one of many zeros, is left to Python's parser */
    HEADER = 5,          /* bytes of a TLS record's header: its type, a version, and the length of what follows */
    LARGEST = 18432,     /* bytes that may follow in the record of any version: 2^14 and 2048 */
    FIRST_TYPE = 20,     /* of TLS's types of records */
    LAST_TYPE = 24,
    APPLICATION_DATA = 23,
};

static int hex_digit(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    byte |= 'a' - 'A';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Count the bytes from `at` on that belong to the current chunk; in a stripped inbox, keep them. Returns their number. */
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

/* Follow chunked transfer coding. Returns 0 at anything unusual: the last chunk, an extension, an error. */
static int follow(struct inbox *inbox, char *at, char *end) {
    char *line = at - inbox->tail; /* where the current chunk-size line begins */
    int usual = 1;
    while (usual && at < end) {
        if (inbox->state == DATA) {
            at += chunk_data(inbox, at, end);
        } else if (inbox->state == SIZE && *at != '\r') {
            int digit = hex_digit(*at++);
            usual = digit >= 0 && !(inbox->chunk_left >> 32) && at - line <= LONGEST;
            if (usual) inbox->chunk_left = inbox->chunk_left << 4 | digit;
        } else {
            usual = *at++ == (inbox->state == SIZE || inbox->state == DATA_CR ? '\r' : '\n');
            inbox->torn = !usual && inbox->state > DATA;
            if (inbox->state == SIZE && !inbox->chunk_left) usual = 0;
            inbox->chunks += usual && inbox->stripped && inbox->state == SIZE;
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

/* Start counting a chunked body that begins with these bytes, which Python has taken. Returns whether C can count it. */
int sg_count(struct inbox *inbox, char *data, int length) {
    inbox->body = inbox->chunk_left = inbox->state = 0;
    return inbox->counted = follow(inbox, data, data + length);
}

/* Where the line at `at` ends: at a CR LF, before which all is printable. NULL: it has no such end. */
static const char *line_end(const char *at, const char *end) {
    while (at < end && (*at == '\t' || (*at >= ' ' && *at <= '~'))) at++;
    return end - at >= 2 && at[0] == '\r' && at[1] == '\n' ? at : NULL;
}

static int is(const char *word, const char *at, const char *end) {
    return end - at == (ptrdiff_t)strlen(word) && !strncasecmp(at, word, end - at);
}

/* Whether a usual head may have this header: it says nothing of another length, or of an encoding. Sets `*chunked` at the one
 * that says that chunks follow. */
static int usual_header(const char *name, const char *end, int *chunked) {
    const char *colon = name;
    while (isalnum((unsigned char)*colon) || *colon == '-') colon++;
    if (colon == name || *colon != ':') return 0;
    if (is("content-length", name, colon) || is("content-encoding", name, colon)) return 0;
    if (!is("transfer-encoding", name, colon)) return 1;
    const char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
    return !*chunked && (*chunked = is("chunked", value, end));
}

/* Bytes of the head at `begin` if it is whole and usual: of HTTP/1.1, with status 200, without a byte that parsers read in
 * different ways, and followed by chunks. 0: Python's parser has to look at it. */
static int64_t usual_head(const char *begin, const char *end) {
    const char *line = begin, *stop;
    int chunked = 0;
    if (end - begin < STATUS_BYTES || memcmp(begin, STATUS, STATUS_BYTES)) return 0;
    for (int lines = 0; lines < LINES && (stop = line_end(line, end)); lines++, line = stop + 2) {
        if (stop == line) return chunked ? stop + 2 - begin : 0;
        if (lines && !usual_header(line, stop, &chunked)) return 0;
    }
    return 0;
}

/* Remove the framing from the end of this head on, and report nothing that needs no decision. */
static void begin_after(struct inbox *inbox, struct read head) {
    inbox->head = head;
    inbox->length = head.end;
    inbox->body = inbox->chunk_left = inbox->state = inbox->report_all = 0;
    inbox->counted = inbox->stripped = 1;
}

/* Count the data of one read, at `fresh`, and store its times. Returns whether C has come to a part that it cannot count. */
int keep(struct inbox *inbox, char *fresh, ssize_t size, int64_t stamp) {
    int64_t head = inbox->unattended ? usual_head(fresh, fresh + size) : 0;
    inbox->unattended = 0;
    if (head) begin_after(inbox, (struct read){head, stamp, inbox->seen});
    fresh += head;
    size -= head;
    int64_t before = inbox->body, end = before;
    int counted = inbox->counted;
    if (!inbox->stripped) inbox->length += size;
    if (counted) {
        inbox->counted = follow(inbox, fresh, fresh + size);
        end = inbox->body;
    } else {
        end = inbox->length;
    }
    if (end > before || !inbox->counted) inbox->reads[inbox->count++] = (struct read){end, stamp, inbox->seen};
    return counted && !inbox->counted;
}

/* Put `count` reads into an inbox as if they had been read from a socket: their ends are places in `data`, and the first begins
 * at `begin`. Stops before a read for which there is no room, and after one with which C has come to a part that it cannot
 * count. Returns the number of reads put. */
int sg_put(struct inbox *inbox, const char *data, const struct read *reads, int begin, int count) {
    for (int i = 0; i < count; i++) {
        int used = inbox->length + inbox->tail;
        int64_t size = reads[i].end - begin;
        if (size > RAW - used || inbox->count == READS) return i;
        memcpy(inbox->raw + used, data + begin, size);
        begin = reads[i].end;
        inbox->seen = reads[i].seen;
        if (keep(inbox, inbox->raw + used, size, reads[i].stamp)) return i + 1;
    }
    return count;
}

/* Follow TLS records over the bytes of one read, which were added to the tail, and store the read's times if they complete
 * one. Returns whether Python should look now: at a record that is shorter than all before, since the end of an answer often
 * is, at one that is not data, at bytes that are no record, and when there is enough. */
int keep_records(struct inbox *inbox, ssize_t size, int64_t stamp) {
    int before = inbox->length, told = 0;
    inbox->tail += size;
    while (inbox->tail >= HEADER) {
        const unsigned char *header = (const unsigned char *)inbox->raw + inbox->length;
        int whole = HEADER + (header[3] << 8 | header[4]);
        if (header[0] < FIRST_TYPE || header[0] > LAST_TYPE || header[1] != 3 || header[2] != 3 || whole > HEADER + LARGEST) {
            whole = inbox->tail;
            told = 1;
        }
        if (inbox->tail < whole) break;
        told |= whole < inbox->shortest || header[0] != APPLICATION_DATA;
        if (whole < inbox->shortest || !inbox->shortest) inbox->shortest = whole;
        inbox->length += whole;
        inbox->tail -= whole;
    }
    if (inbox->length > before) inbox->reads[inbox->count++] = (struct read){inbox->length, stamp, inbox->seen};
    return told || inbox->length > inbox->enough || inbox->count * (RAW / READS) > inbox->enough;
}

/* At the end of the connection: the beginning of a record, which has no rest, counts as a read. */
void keep_rest(struct inbox *inbox) {
    if (!inbox->tail) return;
    inbox->length += inbox->tail;
    inbox->tail = 0;
    inbox->reads[inbox->count++] = (struct read){inbox->length, 0, inbox->seen};
}
