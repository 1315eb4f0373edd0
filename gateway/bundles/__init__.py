"""Where bundles of policy come from, which one is in force, and which ones were."""
