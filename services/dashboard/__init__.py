"""The live page: what it shows, how it gets there, and who may see it."""
