"""What every service shares: settings, names and records that cross a wire, clients."""
