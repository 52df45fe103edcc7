/* The loops over the chunks of many streams that metrics are made of. Without compiled code, `judge/measure` and `reports` do
 * the same with NumPy, in several passes. Allocates nothing.
 */
#include "layout.h"

/* Write each gap between two events of a stream that came apart, and the event that ended it. `starts` as in `struct content`;
 * `ends`: the event before which each stream's gaps end. By event: `wire`, when it came on the wire, which decides whether two
 * came apart, and `at`, the times to measure between. Returns how many gaps there are. */
int64_t sg_gaps(const int64_t *starts, const int64_t *ends, int64_t stream_count, const int64_t *wire, const int64_t *at,
                int64_t *gaps, int64_t *places) {
    int64_t found = 0;
    for (int64_t stream = 0; stream < stream_count; stream++)
        for (int64_t event = starts[stream] + 1; event < ends[stream]; event++)
            if (wire[event] > wire[event - 1]) {
                gaps[found] = at[event] - at[event - 1];
                places[found++] = event;
            }
    return found;
}

/* The bursts of each stream and its longest silence. `at`: when each event came. Silences of a stream with a tool are left out.
 * Writes the event before each silence to `silences`, and returns how many they are. */
int64_t sg_bursts(const int64_t *starts, int64_t stream_count, const int64_t *at, const unsigned char *tool,
                  const struct bursts *to, int64_t *silences) {
    int64_t found = 0;
    for (int64_t stream = 0; stream < stream_count; stream++) {
        int64_t begin = starts[stream], end = starts[stream + 1], count = end > begin, lone = 0, stall = 0, stalled_at = 0;
        int begins = 1; /* whether the event before began a burst */
        for (int64_t event = begin + 1; event < end; event++) {
            int64_t gap = at[event] - at[event - 1];
            int apart = gap > to->together;
            count += apart;
            lone += begins & apart;
            begins = apart;
            if (gap < to->silent || tool[stream]) continue;
            silences[found++] = event - 1;
            if (gap < stall) continue;
            stall = gap;
            stalled_at = at[event - 1];
        }
        to->count[stream] = count;
        to->lone[stream] = lone + (end > begin && begins);
        to->stall[stream] = stall;
        to->stalled_at[stream] = stalled_at;
    }
    return found;
}

/* Count the values from 0 to `size` in `table`. Writes the others to `others`, and returns how many they are. */
int64_t sg_tally(const int64_t *values, int64_t count, int64_t *table, int64_t size, int64_t *others) {
    int64_t left = 0;
    for (int64_t i = 0; i < count; i++) {
        if (values[i] >= 0 && values[i] < size) table[values[i]]++;
        else others[left++] = values[i];
    }
    return left;
}

/* The time bin of a moment. A later moment is in no earlier bin. */
static int64_t bin_of(const struct bins *bins, int64_t moment) {
    double bin = (double)moment * 1e3 / bins->width;
    return bin > 0 ? bin < (double)(bins->bins - 1) ? (int64_t)bin : bins->bins - 1 : 0;
}

/* Count gaps by the time bin of `moments[places[i]]` and by their bucket, in `counts`, which has `buckets` for each bin.
 * `bucket_of` has the bucket of each gap below `size`. Writes which gaps are not below it, and returns how many they are. */
int64_t sg_count_over_time(const struct bins *bins, const int64_t *moments, const int64_t *places, const int64_t *gaps,
                           int64_t count, int64_t *others) {
    int64_t left = 0, bin = 0, since = 1, until = 0; /* moments from `since` to `until` are in `bin`: a division is slow */
    for (int64_t i = 0; i < count; i++) {
        if (gaps[i] < 0 || gaps[i] >= bins->size) {
            others[left++] = i;
            continue;
        }
        int64_t moment = moments[places[i]];
        if (moment < since || moment > until) {
            bin = bin_of(bins, moment);
            int64_t last = (int64_t)((double)(bin + 1) * bins->width / 1e3) - 1;
            since = moment;
            until = last > moment && bin_of(bins, last) == bin ? last : moment;
        }
        bins->counts[bin * bins->buckets + bins->bucket_of[gaps[i]]]++;
    }
    return left;
}

/* The nearest whole number of one that is not negative, halves to even. */
static int64_t nearest(double value) {
    const double whole = 4503599627370496.0; /* 2^52: from here on, every number is whole */
    return (int64_t)(value < whole ? value + whole - whole : value);
}

/* The reader model, as `reader_model.waits` describes it. `ends` as in `sg_gaps`: later text is not read. The four columns of
 * `to` have a value for each stream; those of a stream without text are left as they are. Returns 0 if the texts together are
 * so long that a number could overflow. */
int sg_waits(const struct content *events, const int64_t *ends, int64_t stream_count, const double *broke_at, double per_character,
             const struct waits *to) {
    int64_t characters = 0, read = 0; /* of all texts so far, and how long it takes to read them */
    for (int64_t stream = 0; stream < stream_count; stream++) {
        int64_t first = NONE, latest = 0, before = 0, longest = 0, stalls = 0;
        for (int64_t event = events->starts[stream]; event < ends[stream]; event++) {
            int64_t text = events->text[event], at = events->perceived_at[event], read_before = read;
            if (text <= 0) continue;
            characters += text;
            if ((double)characters * per_character > (double)(INT64_C(1) << 52)) return 0;
            read = nearest((double)characters * per_character);
            if (first == NONE) {
                before = read - nearest((double)text * per_character);
                first = latest = at + before - read_before;
                continue;
            }
            int64_t start = at + before - read_before, step = start > latest ? start - latest : 0;
            latest += step;
            longest = step > longest ? step : longest;
            stalls += step >= STALL;
        }
        if (first == NONE) continue;
        double tail = broke_at[stream] - (double)(latest - before + read);
        if (!(tail > 0)) tail = 0; /* also NaN, of a complete answer */
        double waited = (double)(latest - first) + tail, reading = (double)(read - before);
        to->count[stream] = (double)(stalls + (tail >= STALL));
        to->time[stream] = waited;
        to->longest[stream] = (double)longest > tail ? (double)longest : tail;
        to->ratio[stream] = waited / (waited + reading);
    }
    return 1;
}
