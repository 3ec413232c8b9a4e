"""Exchanges that speak the real protocols, fed by one seeded market model."""
