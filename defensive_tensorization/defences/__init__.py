"""Defences beside tensorization: what fills the slots that it leaves open."""
