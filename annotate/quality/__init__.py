"""How good the votes are: agreement, reliability, position bias, style. Pure functions on arrays; no Django.

Everything is told in terms of the responses a and b, never of the side on which they were shown.
"""
