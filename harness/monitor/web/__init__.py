"""What a monitor serves over HTTP: the status page, Prometheus's page and /healthz; and what it sends to a collector.

It is a process beside the judge, which reads the database only, so that no reader can disturb the judge.
`app` is what it answers, and `connection` limits who asks.
"""
