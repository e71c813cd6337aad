"""Cases: whose they are, what is decided, how the customer is answered, what the clock says."""
