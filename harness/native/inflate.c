/* Inflates zlib data (RFC 1950 and 1951) of about a kilobyte. Half of zlib's time for so little is the set-up of its state
 * and tables, which are made for long data. What is read here, zlib reads alike; it may read more.
 */
#include "inflate.h"

#include <endian.h>
#include <string.h>

enum {
    LONGEST = 15,  /* bits of a code */
    QUICK = 10,    /* bits of the codes that one look at a table decodes */
    AT_A_LOOK = 5, /* so many of these codes are in 56 bits */
    LITERALS = 288, DISTANCES = 32,
    END = 256,     /* the symbol at the end of a block */
    FEW = 64,      /* bytes of output for which a table of quick codes is not worth while */
};

/* A Huffman code. Codes of equal length are consecutive numbers, in the order of their symbols. */
struct code {
    uint16_t quick[1 << QUICK]; /* by the next bits of the input, as many as `mask` has: symbol << 4 | length; 0: a longer code */
    unsigned mask;
    uint16_t count[LONGEST + 1]; /* codes of each length */
    uint16_t symbols[LITERALS];  /* sorted by code */
};

/* Where the input is read, and what of it is not used yet: `count` bits in `bits`, the first lowest. */
struct input {
    const unsigned char *at, *end;
    uint64_t bits;
    int count;
};

/* Where the output is written. */
struct output {
    unsigned char *begin, *at, *end;
};

static const uint16_t LENGTH_BASE[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99,
                                         115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t DISTANCE_BASE[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025,
                                           1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t DISTANCE_BITS[30] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12,
                                          12, 13, 13};

/* At least 32 bits, if the input has as many. */
static inline void refill(struct input *in) {
    if (in->count >= 32) return;
    if (in->end - in->at >= 4) {
        uint32_t next = in->at[0] | (uint32_t)in->at[1] << 8 | (uint32_t)in->at[2] << 16 | (uint32_t)in->at[3] << 24;
        in->bits |= (uint64_t)next << in->count;
        in->at += 4;
        in->count += 32;
        return;
    }
    while (in->at < in->end) {
        in->bits |= (uint64_t)*in->at++ << in->count;
        in->count += 8;
    }
}

/* The next `count` bits, at most 16; -1: the input ends before. */
static inline int take(struct input *in, int count) {
    refill(in);
    if (in->count < count) return -1;
    int value = in->bits & (((uint64_t)1 << count) - 1);
    in->bits >>= count;
    in->count -= count;
    return value;
}

/* The code in which symbol `i` has `lengths[i]` bits; 0: it does not occur. Returns whether every input is a symbol. Without
 * the table of `quick` codes it is built faster, and read more slowly. */
static int build(struct code *code, const uint8_t *lengths, int symbols, int quick) {
    uint16_t offset[LONGEST + 2] = {0}, used[LITERALS];
    int uses = 0, free = 1;
    memset(code->count, 0, sizeof code->count);
    for (int i = 0; i < symbols; i++) { /* most do not occur: those that do are looked at, without a branch for each */
        used[uses] = i;
        uses += lengths[i] > 0;
    }
    for (int i = 0; i < uses; i++) code->count[lengths[used[i]]]++;
    for (int bits = 1; bits <= LONGEST; bits++) {
        free = 2 * free - code->count[bits];
        if (free < 0) return 0;
        offset[bits + 1] = offset[bits] + code->count[bits];
    }
    if (free) return 0;
    for (int i = 0; i < uses; i++) code->symbols[offset[lengths[used[i]]]++] = used[i];
    code->quick[0] = 0;
    code->mask = 0;
    if (!quick) return 1;
    const uint16_t *symbol = code->symbols, *after = symbol + offset[LONGEST + 1];
    unsigned size = 1, reversed = 0; /* the code, with its first bit lowest, as it comes */
    for (int bits = 1; bits <= QUICK && symbol < after; bits++, size *= 2) {
        memcpy(code->quick + size, code->quick, size * sizeof *code->quick); /* shorter codes: whatever follows them */
        for (int i = 0; i < code->count[bits]; i++) {
            code->quick[reversed] = *symbol++ << 4 | bits;
            unsigned zeros = reversed ^ (2 * size - 1);
            if (!zeros) break; /* the last code */
            unsigned bit = 1u << (31 - __builtin_clz(zeros)); /* add 1 to the code */
            reversed = (reversed & (bit - 1)) | bit;
        }
    }
    code->mask = size - 1;
    return 1;
}

/* The next symbol; -1: the input ends before. */
static inline int symbol_of(struct input *in, const struct code *code) {
    refill(in);
    unsigned found = code->quick[in->bits & code->mask];
    int bits = found & 15, symbol = found >> 4;
    if (!found) { /* bit by bit; `first` is the first code of each length, `index` its place in `symbols` */
        int value = 0, first = 0, index = 0;
        for (bits = 1; bits <= LONGEST; bits++) {
            value |= in->bits >> (bits - 1) & 1;
            if (value - first < code->count[bits]) break;
            index += code->count[bits];
            first = (first + code->count[bits]) << 1;
            value <<= 1;
        }
        if (bits > LONGEST) return -1;
        symbol = code->symbols[index + value - first];
    }
    if (bits > in->count) return -1;
    in->bits >>= bits;
    in->count -= bits;
    return symbol;
}

static int stored(struct input *in, struct output *out) {
    take(in, in->count & 7);
    int length = take(in, 16), inverse = take(in, 16);
    if (length < 0 || inverse < 0 || length != (inverse ^ 0xffff)) return UNREAD;
    for (; length && out->at < out->end; length--) {
        int byte = take(in, 8);
        if (byte < 0) return UNREAD;
        *out->at++ = byte;
    }
    return length ? NO_ROOM : WHOLE;
}

/* Copy literals with short codes, most of what our blobs hold, until something else comes or either end is near. */
static inline unsigned char *copy_literals(struct input *in, const struct code *code, unsigned char *at, const unsigned char *end) {
    while (in->end - in->at >= 8 && end - at >= AT_A_LOOK) {
        uint64_t next;
        memcpy(&next, in->at, sizeof next);
        in->bits |= le64toh(next) << in->count; /* whole bytes count; the bits above them will come again, and are the same */
        in->at += (63 - in->count) >> 3;
        in->count |= 56;
        for (int i = 0; i < AT_A_LOOK; i++) {
            unsigned found = code->quick[in->bits & code->mask];
            if (!found || found >= END << 4) return at;
            *at++ = found >> 4;
            in->bits >>= found & 15;
            in->count -= found & 15;
        }
    }
    return at;
}

static int compressed(struct input *from, struct output *to, const struct code *literals, const struct code *distances) {
    struct input in = *from; /* a copy, which the compiler can keep in registers */
    unsigned char *at = to->at, *end = to->end;
    int symbol, ended = UNREAD;
    while (at = copy_literals(&in, literals, at, end), (symbol = symbol_of(&in, literals)) >= 0 && symbol != END) {
        if (at == end) {
            ended = NO_ROOM;
            break;
        }
        if (symbol < END) {
            *at++ = symbol;
            continue;
        }
        symbol -= END + 1;
        if (symbol >= 29) break;
        int more = take(&in, LENGTH_BITS[symbol]), code = symbol_of(&in, distances);
        if (more < 0 || code < 0 || code >= 30) break;
        int further = take(&in, DISTANCE_BITS[code]);
        int64_t length = LENGTH_BASE[symbol] + more, distance = DISTANCE_BASE[code] + further;
        if (further < 0 || distance > at - to->begin) break;
        for (; length && at < end; length--, at++) *at = at[-distance];
        if (length) {
            ended = NO_ROOM;
            break;
        }
    }
    *from = in;
    to->at = at;
    return symbol == END ? WHOLE : ended;
}

/* The codes of a block that are the same in all data. Those of the distances 30 and 31 never occur. */
static void fixed_codes(struct code *literals, struct code *distances) {
    uint8_t lengths[LITERALS];
    for (int i = 0; i < LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    build(literals, lengths, LITERALS, 1);
    memset(lengths, 5, DISTANCES);
    build(distances, lengths, DISTANCES, 1);
}

/* The codes that a block begins with. Returns whether they could be read. */
static int own_codes(struct input *in, struct code *literals, struct code *distances, int quick) {
    static const uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS + DISTANCES] = {0};
    int of_literals = take(in, 5) + 257, of_distances = take(in, 5) + 1, of_lengths = take(in, 4) + 4;
    if (of_literals < 257 || of_literals > 286 || of_distances < 1 || of_distances > 30 || of_lengths < 4) return 0;
    for (int i = 0; i < of_lengths; i++) {
        int bits = take(in, 3);
        if (bits < 0) return 0;
        lengths[ORDER[i]] = bits;
    }
    if (!build(literals, lengths, 19, 1)) return 0;
    for (int i = 0, all = of_literals + of_distances; i < all;) {
        int symbol = symbol_of(in, literals);
        if (symbol < 0) return 0;
        if (symbol < 16) {
            lengths[i++] = symbol;
            continue;
        }
        if (symbol == 16 && !i) return 0;
        int length = symbol == 16 ? lengths[i - 1] : 0, more = take(in, symbol == 16 ? 2 : symbol == 17 ? 3 : 7);
        int times = more + (symbol == 18 ? 11 : 3);
        if (more < 0 || times > all - i) return 0;
        memset(lengths + i, length, times);
        i += times;
    }
    return lengths[END] && build(distances, lengths + of_literals, of_distances, quick) && build(literals, lengths, of_literals, quick);
}

static uint32_t adler32(const unsigned char *at, int64_t length) {
    uint32_t sum = 1, sums = 0;
    while (length) {
        int64_t part = length < 5552 ? length : 5552; /* as many bytes as cannot overflow 32 bits */
        length -= part;
        for (; part; part--) sums += sum += *at++;
        sum %= 65521;
        sums %= 65521;
    }
    return sums << 16 | sum;
}

/* Inflate `in`, which must hold one zlib stream and nothing else. Returns WHOLE, NO_ROOM or UNREAD. */
int inflate_zlib(const unsigned char *begin, int64_t length, unsigned char *room_begin, int64_t room, int64_t *written) {
    struct code literals, distances;
    struct input in = {begin + 2, begin + length, 0, 0};
    struct output out = {room_begin, room_begin, room_begin + room};
    *written = 0;
    /* Method 8, a window of at most 32 KiB, no dictionary. */
    if (length < 2 || (begin[0] & 15) != 8 || begin[0] >> 4 > 7 || begin[1] & 32 || (begin[0] << 8 | begin[1]) % 31) return UNREAD;
    for (int last = 0; !last;) {
        last = take(&in, 1);
        int kind = take(&in, 2), ended = UNREAD;
        if (last < 0 || kind < 0) return UNREAD;
        if (kind == 1) fixed_codes(&literals, &distances);
        if (kind == 0) ended = stored(&in, &out);
        else if (kind == 1 || (kind == 2 && own_codes(&in, &literals, &distances, room > FEW))) ended = compressed(&in, &out, &literals, &distances);
        *written = out.at - out.begin;
        if (ended != WHOLE) return ended;
    }
    take(&in, in.count & 7);
    uint32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        int byte = take(&in, 8);
        if (byte < 0) return UNREAD;
        sum = sum << 8 | byte;
    }
    return in.count || in.at < in.end || sum != adler32(out.begin, *written) ? UNREAD : WHOLE;
}
