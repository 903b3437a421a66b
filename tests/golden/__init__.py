"""Golden values: what a move or a renaming of the code may not change, and how they are renewed.

    identities   hashes of configurations: exact
    streams      seeds of the random streams, and who asks for them: exact
    numbers      first answers, losses along attacks, rows of networks and attacks: within rounding

The names of the package that these modules use are the only lines to edit when the package moves.
"""
