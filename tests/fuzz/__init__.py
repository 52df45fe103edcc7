"""Random inputs for the C of the harness, in a process whose C is built with AddressSanitizer and UBSan.

sanitized   builds that C, and starts Python with it
library     pytest's plug-in for such a Python: it loads that C in place of the installed one
campaign    many cases, in parallel
targets     what is fuzzed: to add a target, add a module and an entry there
inputs      random bytes, and copies with an exact end
match       events matched by a pattern
times       the times of a stream, and its packed columns
chunks      HTTP's chunked transfer coding
blobs       hostile arrivals blobs
framing     the two socket readers, on the same bytes
records     the same over TLS

`python -m tests.fuzz 100000` runs so many cases of each target; `make bench` runs a million in all with the sanitizers.
"""
