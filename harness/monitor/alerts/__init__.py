"""Alerts: what is told to whom, and how it is delivered.

message   one alert, as it is stored and sent
outbox    the queue in the monitor's database
"""
