"""What the desk does, on both databases and a real Redis."""
