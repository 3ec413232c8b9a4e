"""What is wrong with this machine, these settings and this stack, and what mends it."""
