"""What a gateway must not forget: missions, their results and their events, in one SQLite file."""
