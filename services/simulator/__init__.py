"""A simulated market behind the exchanges' real protocols, for the demo and the tests."""
