"""Starts, checks and stops the whole stack, as local processes or as containers."""
