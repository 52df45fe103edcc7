"""Emulated links between the person and the server. Pure: no socket, no sleep, randomness handed in.

Upstream, the client sleeps for the delays that `handshake` and `request` return. Downstream, `deliver` computes when
the person gets each read, and the arrival times on the wire stay the kernel's. `take` also limits how fast the client
reads, so that the server's writes block as they would with a slow phone.
"""

from streamgauge.harness.drive.network.link import Link
from streamgauge.harness.drive.network.profiles import NETWORKS, Network, find

__all__ = ["NETWORKS", "Link", "Network", "find"]
