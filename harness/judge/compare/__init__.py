"""Several runs compared: the regression gate and its baselines, the history, and two runs side by side.

gate             what is gated: [regression], parsed
same_work        whether two runs are comparable
run_figures      one figure of a run for each gated metric
run_shapes       TTFT and ITL of each run as distributions
baseline         the accepted runs
baseline_file    a baseline as a JSON file
since_accepted   the changes of one run's key figures, for its report
stored_runs      a comparison of runs in the database
comparison       the gate's verdict, with a row for each metric
gated            rules and gate as one result
regression       the statistics of that verdict
noise            how small a change the gate finds
budget           what a gate finds within a time
recorded_runs    the runs that a budget is proposed from
history          runs of the same work over weeks
change_points    where a new level begins
two_runs         two runs side by side, without a verdict
"""
