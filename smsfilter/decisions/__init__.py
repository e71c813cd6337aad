"""Decision records: their form, and what they prove. No I/O, no clock."""
