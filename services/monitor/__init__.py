"""Watching the stack: is each service doing its work, what does it use, who must be told."""
