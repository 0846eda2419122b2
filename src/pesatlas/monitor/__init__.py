"""Looking at a campaign from outside: how far it is, what it would cost, whether all is ready. Nothing here writes or waits for a lock."""
