"""Speed of the simulators against other ways to compute the same, side by side in one run.

``make bench`` or ``python -m benchmarks``; needs the extra ``bench``.  Every comparison checks
first that the codes give the same result.  See :mod:`.side_by_side` for how times are taken.
"""
