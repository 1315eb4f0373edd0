"""hook: the commands for those who write hooks, and for those who put them in force."""
