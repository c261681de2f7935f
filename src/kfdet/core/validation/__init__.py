"""The checks of a data set: per record, merged over shards, and over the whole set.

`examine.examine_record` looks at one record and shares nothing with any other; `tally.SplitTally`
adds up what was seen and merges associatively, so that shards can be examined anywhere in any
grouping; `dataset_checks` reads the sums. `catalogue` names every finding there can be.
"""
