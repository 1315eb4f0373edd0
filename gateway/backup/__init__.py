"""A copy of a home, taken while its gateway runs, that can be checked before anything rests on it; and the way back."""
