"""Defensive tensorization: convolutions whose weights live in a randomized Tucker latent space."""
