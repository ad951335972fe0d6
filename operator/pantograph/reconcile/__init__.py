"""Planning: what is wanted and what was seen go in, actions come out. No I/O, no clock, no chance.

Planning what was just applied yields nothing.
"""
