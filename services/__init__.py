"""The stack's Python services; one entry-point file per container."""
