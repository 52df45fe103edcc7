"""Emulated links between the person and the server. Pure: no socket, no sleep, randomness handed in.

Upstream, the client sleeps for the delays that `handshake` and `request` return. Downstream, `deliver` computes from
each read when the person gets it, so the wire's times stay as the kernel saw them; `take` may also pace the reads, so
that the server feels a slow link.
"""

from streamgauge.harness.drive.network.link import Link
from streamgauge.harness.drive.network.profiles import NETWORKS, Network, find

__all__ = ["NETWORKS", "Link", "Network", "find"]
