"""What authors of policy need: findings, tests, coverage, explanations. No I/O."""
