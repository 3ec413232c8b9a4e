"""What must be so before real money is traded, checked one by one."""
