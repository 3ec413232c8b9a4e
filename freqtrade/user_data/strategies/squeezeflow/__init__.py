"""What the executing strategy decides and whom it talks to; no indicator, no opinion."""
