"""Redis: the index that the path reads, the registry in it, and a private server to try it with."""
