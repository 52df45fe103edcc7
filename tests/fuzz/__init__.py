"""Random inputs for the C of the harness, in a process whose C is built with AddressSanitizer and UBSan.

sanitized   builds that C, and starts Python with it
library     pytest's plug-in for such a Python: it loads that C in place of the installed one
targets     what is fuzzed: to add a target, add a module and an entry there
inputs      random bytes, and copies with an exact end
match       events matched by a pattern
times       the times of a stream, and its packed columns
chunks      HTTP's chunked transfer coding
framing     the two socket readers, on the same bytes

`python -m tests.fuzz 1000000` runs a million cases of each target; `make bench` runs it with the sanitizers.
"""
