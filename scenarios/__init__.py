"""Locustfiles: run them with `streamgauge run NAME` or with plain `locust -f`."""

if __name__ != "streamgauge.scenarios":  # imported as a top-level package: each class would exist twice
    raise ImportError(f"import streamgauge.scenarios instead of {__name__}")
