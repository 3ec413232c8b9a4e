"""Takes the stack off a machine: says what would go, and deletes it only if told to."""
