"""The live decisions on stored or recorded markets, with simulated execution."""
