"""Jobs: which runs when, how it ends, what survives a restart."""
