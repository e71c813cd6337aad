"""How the tables of the records came to be, one step a file (alembic)."""
