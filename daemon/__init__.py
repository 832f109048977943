"""Assembles and runs; the only floor that sees all others."""
