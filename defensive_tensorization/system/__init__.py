"""The process and the machine: progress, provenance, signals, locks, memory, device."""
