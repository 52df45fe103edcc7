"""The monitor: probes of endpoints, their service levels, and the alerts when a budget burns.

alerts   what is told to whom, and how it is delivered
"""
