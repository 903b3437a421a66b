"""One thread at a time: the random generators of torch, numpy and Python belong to all threads."""

from threading import RLock

ALONE = RLock()
"""Held by whoever seeds those generators and puts them back; a thread may take it again."""
