"""What people do with cases, on both databases."""
