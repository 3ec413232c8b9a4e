"""Commands to run, test, measure and maintain the stack."""
