"""The demonstration: a real gateway in a temporary home, and missions that show what it allows, denies and stops."""
