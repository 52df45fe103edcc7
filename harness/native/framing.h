/* What `reader.c` asks `framing.c`. */
#ifndef FRAMING_H
#define FRAMING_H

#include "layout.h"

#include <sys/types.h>

int keep(struct inbox *inbox, char *fresh, ssize_t size, int64_t stamp);
int keep_records(struct inbox *inbox, ssize_t size, int64_t stamp);
void keep_rest(struct inbox *inbox);

#endif
