"""How lines get out of the gateway: into a file that is rotated, or to a collector, again until they are taken."""
