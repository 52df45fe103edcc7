"""One run of Locust, from its command line to its conclusion.

options           the options of a run, one table
launch            a run as a Locust process
process           what that process does
locust_plugin     our listeners, registered with Locust
terminal          our lines on Locust's terminal
settings          options and config, parsed once
limits            what the machine must have for the users
budget            what a run may spend
allowance         what a monitor's probes may spend a day
probing           how such probes differ from other runs
labels            NAME=VALUE, branch and commit
open_load         streams due on a schedule
planned_load      how many users are to come, and the processes that they need
asked_load        the load that was asked for, as the record keeps it
levels            the load that a search for a capacity orders
orders            what that search and the run say to each other
pace              how many streams are due, as it orders them
warm_up           whether a warm-up leaves anything to measure
keeper            Locust's events, turned into runs
hosts             the host of a run, and whether it may have the secrets
web_ui            what Locust's web UI accepts, and from whom
in_progress       one run, from start to end
user_classes      what the users do, compared
fingerprint       what comparable runs have in common
scenario_file     the scenario's file, as a part of the fingerprint
raised            what a scenario's code raises, as one line with its place
secrecy           secrets in what a scenario's code raises or logs
driving           the users of one process
local             the users of a run without workers
workers           the master's side of a run with workers
worker            the other side
messages          what the two send each other
port              who may send it
reserved_port     a free port, kept until it is opened
master_watch      whether the master is still there
outbox            batches that the master has not stored yet
recording         a run's record while it is being made
writer            the thread that writes it into the database
process_summary   facts about each process, for that record
live              how streams have ended so far, and whether all fail alike
latest            the figures of the last ten seconds
view              what is shown of a run while it goes on
display           shows it, once a second
dashboard         drawn for a terminal
screen            the terminal's lower part
forked_workers    whether those of --processes are there until the run begins
fork_output       what workers write to that terminal
streams_tab       the tab in Locust's web UI
locust_entries    ITL and E2E in Locust's statistics
conclusion        the verdict and the result's files
"""
