"""Data sets as tensors in memory: `Task`, and one module with a `load` function per data set."""

from defensive_tensorization.data.task import Split, Task, decode

__all__ = ["Split", "Task", "decode"]
