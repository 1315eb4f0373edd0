"""hook: the commands for those who write hooks and those who put them in force."""
