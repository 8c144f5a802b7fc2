"""The constants of the search for recurring defects, in the order in which the search uses them.

Figures are those of `benchmarks/search_constants.py` (docs/performance.md). As it is, the search
reports 392 images that have a recurring defect (right) and 1 that has none (wrong), and nothing
in 134 sets without a recurring defect (false reports); 64 of 216 new images with a defect are
recognised, and 1 without. The figures below are against 405, 1, 2 and 67: of the search before it
knew places, with 1 and 3 times chance.
"""

from __future__ import annotations

# The set

#: In fewer images the quantiles below are single images. No figure moves; under 4 there is no rank.
LEAST_IMAGES = 12
#: Stands for a distance, gap or deviation of 0: without it logarithms and ratios of copies fail.
TINY = 1e-6
#: Robust deviation: median of the absolute deviations times this is σ of a normal distribution.
DEVIATION = 1.4826
#: The interval of MuSc, of scores and of marks. 0.15 marks 2200 patches more, 21 % of all marks
#: wrong instead of 13 %.
AVERAGED = 0.3
#: A patch matters from this share of a typical image's score on. With 1 no figure moves, but a
#: defect in 6 of 60 drawn images is missed (tests).
RELEVANT = 0.9
#: Patches of an image that are examined, the farthest. All of them: 7 right images fewer, slower.
MEASURED = 32

# Links

#: Share of the other images at which a patch's reference distance lies: a defect in more of them
#: cannot be found. With 0.3: 12 right fewer, 4 wrong more.
REACH = 0.5
#: Share of all links that are kept, the strongest. With 0.004: 4 right fewer, 6 wrong more.
KEPT = 0.002
#: Power by which patches far from most images count more, as links and as votes: normal variation
#: is in the way without it, 270 right images fewer.
EMPHASIS = 6

# Candidates

#: Resolutions, as percentiles of the weights. The median alone: 69 right images fewer. Without 10
#: and 90: 5 new images fewer are recognised, and a test of the line fails.
PERCENTILES = (10, 25, 50, 75, 90)
#: Runs of Leiden, of which the best counts. A single one: 4 wrong images and 1 false report more.
TRIALS = 3
#: Images of a candidate: two are often alike by chance, 1 false report more.
LEAST = 3
#: Images that have a recurring defect: three random spots may lie at one place.
LEAST_CARRIERS = 4
#: Largest share of images in a group. With 0.5: 6 new images fewer are recognised. Without it no
#: figure moves, but a group of all images has no distances outside.
LARGEST_SHARE = 0.6

# Members

#: Quantile of the distances outside that stands for "not a member", round by round. The first
#: alone: 5 right fewer, 2 wrong and 1 false report more; the last alone: 53 right fewer.
ROUNDS = (0.4, 0.05)
#: Quantile of the distances to members from which the gap starts, since a candidate may hold other
#: images. With the median: 46 right images fewer.
FAR_MEMBER = 0.75
#: Part of the distances outside that says whether a patch may vote: the nearest images may be
#: members. With 0 to 0.3 no figure moves, but a defect in 6 of 60 drawn images is missed (tests).
VOTE_INTERVAL = (0.2, 0.5)
#: Share of images that have a defect at least. Without it: 1 false report more.
LEAST_SHARE = 0.05

# Evidence

#: Quantile of the distances outside to which a gap reaches. With 0, where a single similar image
#: closes it: 8 right fewer, 1 false more. With 0.1: 32 right and 18 wrong more.
NEAREST = 0.02
#: The usual distance to members, and to images outside. With 0.75: 44 right images fewer.
MEDIAN = 0.5
#: Share of the usual gap that a member has itself. Without it: 29 wrong images more.
OWN_GAP = 0.25
#: Share of the best gap at which the spread is counted. With 0.75: 10 wrong, 4 false more.
HEIGHT = 0.5
#: Patches between a worst patch and another image's outline, within which both are one place: parts
#: do not lie at the same pixels.
BESIDE = 1

# Filter

#: Under the model, share of sets in which chance is reported. With 0.5: 2 false reports more.
FALSE_ALARM_RATE = 0.01
#: Largest spread, as a share of the patches. No figure moves, but another lot of material counts as
#: a defect (tests).
LOCAL = 0.1
#: Largest part of the gap that is there at a usual patch. Marks and stains reach 0.1; prints and
#: connectors in one pose 0.4 to 0.7.
ELSEWHERE = 0.25
#: Stated rate of the threshold that the images outside give. Without each other, most images of a
#: group are over it. With 0.05: a true group of 25 tiles stays under it by a hair.
NG_RATE = 0.1
#: A group has so many times as many images as there are others that are clearly NG. Where many
#: parts have some defect, a few have the same one by chance.
OF_UNUSUAL = 0.5
#: Up to this spread a group is compact: a defect has an outline.
COMPACT = 0.0075
#: The same in patches: with fewer than 134 patches nothing is compact without it.
COMPACT_LEAST = 1.0
#: So many times chance a compact group reaches. Drawn boards without a mark reach 1.3, stains 2.9.
#: With 1.0: 13 right images more, and 5 of 200 drawn sets report something.
OVER_CHANCE_COMPACT = 1.5
#: So many times chance any other group reaches. Missing holes that are at one place by chance reach
#: 3.4, tiles with two defects 3.6.
OVER_CHANCE = 3.5
#: Share of pairs of images that agree in the place, from which on it is one place. Marks of a tool
#: reach 1.0, random defects of one kind 0 to 0.35, missing holes (four places) 0.6.
ONE_PLACE = 0.7
#: So many times chance a group reaches that has no one place, and in so many images it is at least.
#: Random dents and stains reach 2.8 times chance; three spots on plain paper 5 times.
ANYWHERE, ANYWHERE_LEAST = 4.0, 6
#: Largest share of images with their worst patch in the outermost row or column: there a pattern
#: moves in and out of the picture with the part.
AT_BORDER = 0.5
#: Groups that share more of the smaller one are the same. Without it a defect is reported twice.
OVERLAP = 0.3

# Marks

#: Robust deviations from which a patch is marked. With 0: 77 % of the marks are wrong, not 13 %.
STANDS_OUT = 3.0

# Newcomers

#: Share of the members' gap that a new image has. Without it: 13 wrong images more.
NEWCOMER = 0.5
#: As NEAREST, but other new images with the defect are outside. With 0.02: 12 are recognised.
NEWCOMER_NEAREST = 0.1
