"""Replay: recorded missions are run again from what was recorded, and each digest is compared with the log's."""
