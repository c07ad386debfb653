"""`make bench`: what each part does, beside the floors of the same machine in the same run.

A floor is the least that the work could cost: F1 one validated request and one acknowledged record, F2 one loop over a
topic, F3 a service's own database commands sent again with no logic around them. Ratios to floors can be compared
between machines; absolute rates cannot.
"""
