"""From a run's streams to figures. Pure.

arrays            the types of columns
metrics           METRICS: one entry for each metric
observe           columns → the samples of a metric
gaps              the gaps between chunks
bursts            bursts of chunks, and silences
reader_model      how long a person waited who reads the answer
tally             exact counts of whole numbers
clusters          a sample of whole streams, for correlations
distribution      all samples of one metric
histogram         samples in bins, which take little room and can be merged
rates             RATES: one entry for each rate
totals            counts and sums, of which rates are made
cost              what streams cost, by their tokens and the config's prices
server_counters   what the server did after people left
measurements      a run's figures for any selection of streams
windows           a run in slices of time
statistics        quantiles, intervals and tests
"""
