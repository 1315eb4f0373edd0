"""hook: a plugin author's commands, from a new folder to a hook in a running gateway."""
