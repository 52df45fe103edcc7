"""Links: what the road between the person and the server does. Pure: no socket, no sleep, randomness handed in.

The client sleeps for the delays of the way out (`handshake`, `request`) and may pace its reads by `take`; the way back
is computed from the arrivals, read by read and in order (`deliver`), so that the wire's own times stay as the kernel
saw them and the person's are the link's on top.
"""

from streamgauge.harness.drive.network.link import Link
from streamgauge.harness.drive.network.profiles import NETWORKS, Network, find

__all__ = ["NETWORKS", "Link", "Network", "find"]
