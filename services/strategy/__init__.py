"""The SqueezeFlow method: pure functions of arrays and an explicit time. No I/O, no clock."""
