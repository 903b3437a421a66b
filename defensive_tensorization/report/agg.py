"""Import matplotlib's pyplot with the backend that draws to files.

Functions import this module when they draw: matplotlib takes seconds to load.
"""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

__all__ = ["pyplot"]
