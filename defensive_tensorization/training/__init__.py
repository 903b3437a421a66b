"""Training one network: the loop, its state on disk, its batches, its processes."""
