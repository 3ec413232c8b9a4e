"""Open interest of perpetuals: venue by venue, summed, stored and published."""
