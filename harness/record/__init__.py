"""What both halves know.

observation   the record of one stream
failure       why streams failed, worded once
arrivals      its chunks, as one blob
packed        the columns of such blobs, read without trust
certificate   how exact the times of a machine are, as it was measured
vitals        once-a-second figures of a process or the server
clock         one time axis for a run
idleness      when the server is idle again
held_back     whether something holds chunks back and releases them together
path_limits   after how many seconds well-known parts of a path end a stream
"""
