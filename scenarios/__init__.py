"""Locustfiles: run them with `streamgauge run NAME` or with plain `locust -f`."""

if __name__ != "streamgauge.scenarios":  # found by its folder's name: each class would then exist twice
    raise ImportError(f"import streamgauge.scenarios instead of {__name__}")
