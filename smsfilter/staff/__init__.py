"""Staff: who they are, how they log in, what needs two of them, when they are on duty."""
