"""What people do, as tables and rules: cases, rights, branches, duty. Pure; time is an argument."""
