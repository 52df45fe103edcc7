"""Resumable streams: a log between a generation and the clients that read it.

Each event is numbered and kept in an `EventLog`, which hands it to every `Subscriber`. A client that comes back gets
exactly the events that it missed, byte for byte, and then follows live. The generation runs at its own pace, however
slowly it is read. It outlives its subscribers for the grace time; the log is kept for as long after its end. All of it
has limits. A subscriber that is further behind than the log reaches gets an error event and never a gap.

Knows no HTTP. Times are CLOCK_MONOTONIC, in ns.

log          the numbered events of one answer, and its subscribers
deliveries   when each event was generated and delivered
session      one answer: its stream, its log, and how long both live
registry     all sessions of this process
resume       how a client comes back
shared       what logs shared by processes must provide
redis_logs   such logs, in Redis
"""
