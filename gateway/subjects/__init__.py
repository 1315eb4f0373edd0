"""Subjects: the people of whom the audit log speaks, by pseudonyms that mean nobody once they are erased."""
