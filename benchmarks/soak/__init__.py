"""A gateway under load for as long as one likes, while its workers are killed and its rules and hooks change."""
