"""The monitor: probes of endpoints, their service levels, and the alerts when a budget burns.

`alerts` holds what is told to whom, and how it is delivered; `exposition` what other tools read; `web` the pages.

good          what makes a probe good
burn          how fast an error budget burns
maintenance   the times in which probes do not count
series        good and bad probes up to each minute
levels        the service levels of a config
hours         what is kept of each hour
ledger        what has been counted, in memory and in the database
incidents     incidents as rows
listing       incidents for the terminal, and as JSON
watch         begins and ends incidents
judging       one round: from new probes to incidents
retention     drops what is not kept
address       where the pages are served
standing      how each service level stands at each target
status        what the status page shows
words         what the judge's process tells
plan          what is going to be done, told before it begins
heartbeat     tells somebody outside that the monitor lives
health        what /healthz answers
systemd       notifications of a systemd service
supervisor    keeps processes alive
process       how a process of its own begins and ends
processes     which processes there are
service       the monitor as a whole
"""
