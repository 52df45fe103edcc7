/* Rows of SQLite as columns. `sg_rows` is an aggregate function for SQL; its arguments are a row's id, blob, texts and numbers.
 * It writes only what `sg_fill` gave the thread, so SQL cannot have it write elsewhere. It refuses what this program does not
 * write, and what there is no room for: the statement then ends with an error, and Python reads the rows, as it does without
 * compiled code. Allocates nothing.
 */
#include "layout.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { SQL_INTEGER = 1, SQL_TEXT = 3, SQL_BLOB = 4, SQL_NULL = 5, UTF8 = 1, NOT_IN_A_SCHEMA = 0x80000 };

typedef void step(void *context, int count, void **values);

/* The beginning of `struct sqlite3_api_routines` of SQLite's header sqlite3ext.h, which newer versions only append to. */
struct sqlite {
    void *before_create[45];
    int (*create_function)(void *database, const char *name, int count, int flags, void *data, step *scalar, step *step,
                           void (*end)(void *context));
    void *before_result[34];
    void (*result_error)(void *context, const char *message, int length);
    void *before_value[21];
    const void *(*value_blob)(void *value);
    int (*value_bytes)(void *value);
    void *before_int64[3];
    int64_t (*value_int64)(void *value);
    void *before_text[1];
    const void *(*value_text)(void *value);
    void *before_type[3];
    int (*value_type)(void *value);
};
_Static_assert(offsetof(struct sqlite, value_type) == 113 * sizeof(void *), "each place is that of the header");

static const struct sqlite *sqlite;
static _Thread_local struct rows *filled;

/* Take the next so many bytes for a row. Returns whether there is room: also repeated texts need some, as in `bounded`. */
static int has_room(struct rows *to, int64_t length) {
    return (to->size += length) <= to->room;
}

static struct piece copy(struct rows *to, const void *bytes, int64_t length) {
    if (length > 0) memcpy(to->bytes + to->used, bytes, length);
    to->used += length;
    return (struct piece){to->used - length, to->used};
}

static int take_blob(struct rows *to, void *value) {
    if (sqlite->value_type(value) != SQL_BLOB) return 0;
    const void *blob = sqlite->value_blob(value);
    int64_t length = sqlite->value_bytes(value);
    if ((!blob && length) || !has_room(to, length)) return 0; /* the former if memory is short */
    to->blobs[to->count] = copy(to, blob, length);
    return 1;
}

static int take_text(struct rows *to, int64_t column, void *value) {
    const void *text = NULL;
    int64_t length = -1, code = 0, *found = to->found + column;
    struct piece *different = to->different + column * DIFFERENT;
    if (sqlite->value_type(value) != SQL_NULL) {
        if (sqlite->value_type(value) != SQL_TEXT || !(text = sqlite->value_text(value))) return 0;
        length = sqlite->value_bytes(value);
        if (!has_room(to, length)) return 0;
    }
    for (; code < *found; code++) {
        struct piece known = different[code];
        if (known.end - known.start == length && (length <= 0 || !memcmp(to->bytes + known.start, text, length))) break;
    }
    if (code == DIFFERENT) return 0;
    if (code == *found) different[(*found)++] = text ? copy(to, text, length) : (struct piece){0, -1};
    to->codes[column * to->most + to->count] = code;
    return 1;
}

static int take_number(struct rows *to, int64_t column, void *value) {
    int type = sqlite->value_type(value);
    if (type != SQL_NULL && type != SQL_INTEGER) return 0;
    to->numbers[column * to->most + to->count] = type == SQL_NULL ? NAN : (double)sqlite->value_int64(value);
    return 1;
}

static int take_row(struct rows *to, void **values) {
    if (to->count == to->most || sqlite->value_type(values[0]) != SQL_INTEGER || !take_blob(to, values[1])) return 0;
    to->ids[to->count] = sqlite->value_int64(values[0]);
    values += 2;
    for (int64_t i = 0; i < to->text_columns; i++)
        if (!take_text(to, i, *values++)) return 0;
    for (int64_t i = 0; i < to->number_columns; i++)
        if (!take_number(to, i, *values++)) return 0;
    to->count++;
    return 1;
}

/* Have statements that this thread runs fill these rows; NULL: none. */
void sg_fill(struct rows *to) {
    filled = to;
}

static void take(void *context, int count, void **values) {
    if (!filled || count != 2 + filled->text_columns + filled->number_columns || !take_row(filled, values))
        sqlite->result_error(context, "left to Python", -1);
}

static void end(void *context) {
    (void)context; /* the result is NULL: all is in `struct rows` */
}

/* Give a new connection the function. SQLite calls this, and its `routines` are NULL if it was built without extensions. If
 * the connection then has no such function, Python reads the rows. */
int sg_sqlite(void *database, char **message, const struct sqlite *routines) {
    (void)message;
    sqlite = routines;
    if (sqlite) sqlite->create_function(database, "sg_rows", -1, UTF8 | NOT_IN_A_SCHEMA, NULL, NULL, take, end);
    return 0;
}
