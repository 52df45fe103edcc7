/* Lets Python check that `layout.py` agrees with `layout.h`. */
#include "layout.h"

#include <stddef.h>
#include <string.h>

struct number {
    const char *name;
    int64_t value;
};

#define NUMBER(name) {#name, name}
#define OFFSET(structure, field) {#structure "." #field, offsetof(struct structure, field)}
#define LENGTH(structure) {#structure, sizeof(struct structure)}

static const struct number NUMBERS[] = {
    NUMBER(READS),
    NUMBER(RAW),
    NUMBER(MARKER),
    NUMBER(MARKERS),
    NUMBER(AT_ONCE),
    NUMBER(SIZE),
    NUMBER(DATA),
    NUMBER(TEXT),
    NUMBER(TOOL),
    NUMBER(LAST_KIND),
    NUMBER(MOST_EVENTS),
    NUMBER(WIDEST_EVENT),
    NUMBER(LATE),
    NUMBER(TOGETHER),
    NUMBER(PART),
    NUMBER(FIRST),
    NUMBER(STALL),
    NUMBER(NONE),
    NUMBER(DIFFERENT),
    LENGTH(read),
    OFFSET(read, end),
    OFFSET(read, stamp),
    OFFSET(read, seen),
    LENGTH(inbox),
    OFFSET(inbox, head),
    OFFSET(inbox, counted),
    OFFSET(inbox, state),
    OFFSET(inbox, reported),
    OFFSET(inbox, count),
    OFFSET(inbox, records),
    OFFSET(inbox, marker_lengths),
    OFFSET(inbox, reads),
    OFFSET(inbox, raw),
    LENGTH(timing),
    OFFSET(timing, rows),
    OFFSET(timing, until),
    OFFSET(timing, events),
    LENGTH(figures),
    OFFSET(figures, tool_pause),
    OFFSET(figures, lag_max),
    LENGTH(content),
    OFFSET(content, text),
    OFFSET(content, room),
    LENGTH(waits),
    LENGTH(bursts),
    OFFSET(bursts, together),
    LENGTH(bins),
    OFFSET(bins, width),
    LENGTH(rows),
    OFFSET(rows, found),
    OFFSET(rows, bytes),
};

/* The value of a number, the offset of a field ("read.stamp") or the size of a structure ("read"), by name; -1: unknown. */
int64_t sg_number(const char *name) {
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
        if (!strcmp(NUMBERS[i].name, name)) return NUMBERS[i].value;
    return -1;
}
