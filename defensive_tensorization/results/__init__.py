"""What was measured, as files of rows and panels. Never torch; see the modules."""
