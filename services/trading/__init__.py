"""Between strategy and execution: the cycle, publication, fills, reconciliation, leases."""
