"""Locustfiles: run them with `streamgauge run NAME` or with plain `locust -f`."""
