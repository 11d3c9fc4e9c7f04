"""From votes to the lines of a Bradley-Terry pair dataset.

``rule`` says what counts, ``aggregate`` turns the votes on one comparison into a verdict, ``split`` says which part a
prompt belongs to, ``candidates`` reads comparisons and votes in order, ``tally`` counts, ``files`` and ``card`` write.
"""
