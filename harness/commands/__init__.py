"""The commands of `streamgauge`, one file for each. The first ten files are no commands.

click_options   options and arguments that several commands share
numbers         options that are numbers within bounds
rules_file      the --config of the commands that judge a run again
alerting        what --alert does
budget          what `noise` does with --budget
judged          what `judge` does, imported while a second process starts
reported        the same of `report`
searched        what `judge` does with a search for a capacity
pages           the pages that several commands write
several_runs    what `run` does with --repeat or --gate

init            a first config, from three answers and one question to the endpoint
try             one question, and what came
doctor          whether an endpoint streams as it should
capacity        how many users the endpoint holds
run             a scenario, once or several times, gated by a baseline
judge           a verdict from the database
report          the HTML page of a run
runs            the runs of a database
export          streams or chunks for other programs
history         TTFT over all runs of the same work
compare         runs that exist, with a baseline or with each other
baseline        the accepted runs
ab              two builds, compared in turns
monitor         probes day and night, with alerts
status          the status page of a monitor
incidents       what a monitor found
merge           the databases of several monitors as one
noise           how far apart equal runs are
calibrate       how exact this machine is
serve           the reference server
demo            everything once, on a simulated server
"""
