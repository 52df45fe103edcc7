"""The monitor: probes of endpoints, their service levels, and the alerts when a budget burns, which are in `alerts`.

heartbeat   tells somebody outside that the monitor lives
health      what /healthz answers
systemd     notifications of a systemd service
"""
