"""The constants of the search for recurring defects, in the order in which the search uses them."""

from __future__ import annotations

# The set

LEAST_IMAGES = 12
#: Distances of copies are taken for this one, so that every ratio has a value.
TINY = 1e-6
AVERAGED = 0.3
RELEVANT = 0.9
MEASURED = 32

# Links

REACH = 0.5
KEPT = 0.002
EMPHASIS = 6

# Candidates

PERCENTILES = (10, 25, 50, 75, 90)
TRIALS = 3
LEAST = 3
LARGEST_SHARE = 0.6

# Members

ROUNDS = (0.4, 0.05)
FAR_MEMBER = 0.75
VOTE_INTERVAL = (0.2, 0.5)
LEAST_SHARE = 0.05

# Evidence

NEAREST = 0.02
MEDIAN = 0.5
OWN_GAP = 0.25
HEIGHT = 0.5

# Filter

FALSE_ALARM_RATE = 0.01
LOCAL = 0.1
ANOMALOUS = 1.64
COMPACT = 0.0075
COMPACT_LEAST = 1.0
OVER_CHANCE = 3.0
OVERLAP = 0.3

# Marks

STANDS_OUT = 3.0

# Newcomers

NEWCOMER = 0.5
NEWCOMER_NEAREST = 0.1

DEVIATION = 1.4826
