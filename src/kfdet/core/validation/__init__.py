"""The checks of a data set: per record, merged over shards, and over the whole set.

`examine.examine_records` looks at records, each by itself; `tally.SplitTally` adds up what was seen
and merges associatively, so that shards can be examined anywhere in any grouping; `dataset_checks`
reads the sums. `catalogue` names every finding there can be.
"""
