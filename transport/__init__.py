"""Verdicts and records out, triggers in."""
