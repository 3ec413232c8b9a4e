"""From markets' bars to one base symbol's flow: names, aggregation, the rolling window."""
