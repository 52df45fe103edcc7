"""The numbers and structures that C and Python share: the same as `layout.h`, which `library.py` checks."""

import ctypes
from ctypes import c_char, c_char_p, c_double, c_int32, c_int64, c_void_p

READS = 256  # reads that an inbox holds
RAW = 32_768  # bytes that an inbox holds
MARKER = 64  # bytes of the longest marker
MARKERS = 8  # markers of a stream at most
AT_ONCE = 128  # sockets that one poll reports at most

SIZE, DATA = 0, 2  # parser states: in a chunk's size line, in its data (HTTP's chunked transfer coding)

TEXT, TOOL, LAST_KIND = 0, 2, 4  # codes of kinds of events, as stored; those up to TOOL are content
MOST_EVENTS = 1 << 18  # of one stream
WIDEST_EVENT = 34  # bytes of an event in an arrivals blob, at most

# A read of several chunks is the generator's own fault if its lag is more than LATE and more than a PART-th of the time
# between two chunks, unless they came within TOGETHER. For a stream's first read that time is unknown: more than FIRST.
LATE, TOGETHER, PART, FIRST = 500_000, 1_000_000, 4, 10_000_000  # ns, ns, –, ns
STALL = 250_000  # µs: the shortest wait that counts as a stall
NONE = -1 << 63  # in place of a figure that a stream does not have
DIFFERENT = 256  # texts of a column of rows


class Read(ctypes.Structure):
    """One read from a socket."""

    _fields_ = (
        ("end", c_int64),  # bytes of the answer's body after this read; in an uncounted inbox, the end in `raw`
        ("stamp", c_int64),  # CLOCK_REALTIME ns: when the kernel received its last segment; 0: the kernel gave none
        ("seen", c_int64),  # CLOCK_MONOTONIC ns: when it was read
    )


class Inbox(ctypes.Structure):
    """What was read from one socket and not yet taken by Python."""

    _fields_ = (
        ("body", c_int64),  # bytes of the body so far; correct while `counted`
        ("seen", c_int64),  # of the last read, even if it added nothing to the body
        ("chunk_left", c_int64),
        ("allowance", c_int64),  # bytes that may still be read
        ("received", c_int64),  # bytes read from the socket, framing included, that Python has not taken
        ("head", Read),  # `end`: bytes of the answer's head at the beginning of `raw`, if C has read it; 0: it has not
        ("unattended", c_int32),  # do not report a usual head, and remove the framing from there on
        ("counted", c_int32),  # `body` is correct, and C goes on counting
        ("stripped", c_int32),  # `raw` holds only body, followed by `tail` bytes of an incomplete or unusual line
        ("tail", c_int32),
        ("torn", c_int32),  # a chunk did not end where its size said
        ("state", c_int32),  # of the parser of chunks
        ("descriptor", c_int32),
        ("watched", c_int32),
        ("reported", c_int32),
        ("full", c_int32),  # C does not read until Python has taken the inbox
        ("report_all", c_int32),  # report every read to Python
        ("ended", c_int32),  # the peer has closed its side
        ("error", c_int32),  # errno of the failed read; 0: none
        ("length", c_int32),  # bytes in `raw` that Python has not taken
        ("count", c_int32),  # reads in `reads` that Python has not taken
        ("chunks", c_int32),  # chunks whose framing was removed and that Python has not taken
        ("longest", c_int32),  # of the markers, bytes
        ("markers", c_int32),  # how many there are
        ("records", c_int32),  # `raw` holds whole TLS records, followed by `tail` bytes of one that is not complete
        ("shortest", c_int32),  # of the records so far, bytes; 0: the next one is the first that counts
        ("enough", c_int32),  # bytes of records that are worth decrypting; as many reads of RAW / READS bytes each
        ("marker_lengths", c_int32 * MARKERS),
        ("marker", (c_char * MARKER) * MARKERS),
        ("reads", Read * READS),
        ("raw", c_char * RAW),
    )


class Timing(ctypes.Structure):
    """The input of `sg_timing`: one stream's reads and events. `layout.h` explains the fields."""

    _fields_ = (
        ("reads", c_void_p),
        ("shown", c_void_p),
        ("holds", c_void_p),
        ("handed", c_void_p),
        ("sizes", c_void_p),
        ("kinds", c_char_p),
        ("characters", c_void_p),
        ("rows", c_void_p),
        ("offset", c_int64),
        ("origin", c_int64),
        ("until", c_int64),
        ("read_count", c_int32),
        ("hold_count", c_int32),
        ("handed_count", c_int32),
        ("events", c_int32),
    )


class Figures(ctypes.Structure):
    """The output of `sg_timing`; NONE in place of a figure that the stream does not have."""

    _fields_ = (
        ("shown", c_int64),
        ("chunks", c_int64),
        ("characters", c_int64),
        ("first", c_int64),
        ("first_wire", c_int64),
        ("first_text", c_int64),
        ("last", c_int64),
        ("tool_pause", c_int64),
        ("coalesced", c_int64),
        ("saturated", c_int64),
        ("stamped", c_int64),
        ("lag_sum", c_int64),
        ("lag_max", c_int64),
    )


class Content(ctypes.Structure):
    """The output of `sg_content`: the arrays of `arrivals.ContentEvents`."""

    _fields_ = (
        ("starts", c_void_p),
        ("at", c_void_p),
        ("perceived_at", c_void_p),
        ("client_lag", c_void_p),
        ("text", c_void_p),
        ("room", c_int64),  # events for which all but `starts` have room
        ("linked", c_int32),  # `perceived_at` was written
        ("handed", c_int32),  # `client_lag` was written
        ("full", c_int32),  # a stream did not fit
    )


class Waits(ctypes.Structure):
    """The output of `sg_waits`: columns of `reader_model.waits`."""

    _fields_ = (("count", c_void_p), ("time", c_void_p), ("longest", c_void_p), ("ratio", c_void_p))


class Bursts(ctypes.Structure):
    """The output of `sg_bursts`."""

    _fields_ = (
        ("count", c_void_p),
        ("lone", c_void_p),
        ("stall", c_void_p),
        ("stalled_at", c_void_p),
        ("together", c_int64),  # as long as this is an event still in its burst,
        ("silent", c_int64),  # and a gap a silence
    )


class Bins(ctypes.Structure):
    """Where `sg_count_over_time` counts."""

    _fields_ = (
        ("counts", c_void_p),
        ("bucket_of", c_void_p),
        ("size", c_int64),
        ("bins", c_int64),
        ("buckets", c_int64),
        ("width", c_double),  # ns
    )


class Rows(ctypes.Structure):
    """Where `sg_rows` writes. `layout.h` explains the fields."""

    _fields_ = (
        ("most", c_int64),
        ("room", c_int64),
        ("text_columns", c_int64),
        ("number_columns", c_int64),
        ("ids", c_void_p),
        ("blobs", c_void_p),
        ("different", c_void_p),
        ("found", c_void_p),
        ("codes", c_void_p),
        ("numbers", c_void_p),
        ("bytes", c_void_p),
        ("count", c_int64),
        ("used", c_int64),
        ("size", c_int64),
    )


def numbers() -> dict[str, int]:
    """Every number that must be the same in C, by its name for `sg_number`."""
    constants = {name: value for name, value in globals().items() if isinstance(value, int)}
    structures = {
        "read": Read,
        "inbox": Inbox,
        "timing": Timing,
        "figures": Figures,
        "content": Content,
        "waits": Waits,
        "bursts": Bursts,
        "bins": Bins,
        "rows": Rows,
    }
    sizes = {name: ctypes.sizeof(structure) for name, structure in structures.items()}
    offsets = {
        f"{name}.{field}": getattr(structures[name], field).offset
        for name, fields in _CHECKED.items()
        for field in fields
    }
    return constants | sizes | offsets


# The fields whose offsets are compared: a field that is added, removed or moved shifts one of them.
_CHECKED = {
    "read": ("end", "stamp", "seen"),
    "inbox": ("head", "counted", "state", "reported", "count", "records", "marker_lengths", "reads", "raw"),
    "timing": ("rows", "until", "events"),
    "figures": ("tool_pause", "lag_max"),
    "content": ("text", "room"),
    "bursts": ("together",),
    "bins": ("width",),
    "rows": ("found", "bytes"),
}
