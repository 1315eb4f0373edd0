"""Missions from submission to result: who asked, what became of it, and who may watch."""
