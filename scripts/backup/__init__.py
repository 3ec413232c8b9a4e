"""Backups of InfluxDB, Redis and freqtrade that provably restore."""
