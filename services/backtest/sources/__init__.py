"""Recorded markets from files or InfluxDB, as tapes."""
