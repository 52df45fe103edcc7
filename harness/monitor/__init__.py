"""The monitor: probes of endpoints, their service levels, and the alerts when a budget burns.

alerts      what is told to whom, and how it is delivered
heartbeat   tells somebody outside that the monitor lives
health      what /healthz answers
systemd     notifications of a systemd service
"""
