"""Pixels to score to outcome."""
