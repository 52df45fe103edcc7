"""The second process of `beside`: reads the streams of a run that it is told on standard input."""

import gc
import json
import pickle
import sys

from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.judge.store.database import Store


def main(path: str) -> None:
    """Write batches to standard output, then None, or the error that ended the reading; all pickled."""
    output = sys.stdout.buffer
    gc.disable()  # rows by the thousand and no cycles: it would search them again and again, a twentieth of the time
    told = sys.stdin.readline()
    if not told:
        return  # the other process has ended
    run_id, batch = json.loads(told)
    end: StreamgaugeError | None = None
    try:
        with Store.open(path) as store:
            for streams in store._undivided(run_id, store._measured(run_id), batch, -1):
                pickle.dump(streams, output, pickle.HIGHEST_PROTOCOL)
                output.flush()
    except StreamgaugeError as fault:
        end = fault
    pickle.dump(end, output)
    output.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
