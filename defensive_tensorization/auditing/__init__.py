"""Whether a robust accuracy can be believed: checks, each with a stated rule, and a verdict.

docs/audit.md says every rule with its reason and its source.
"""
