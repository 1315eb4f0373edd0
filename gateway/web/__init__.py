"""The second port: what operators and their machines read over HTTP. It changes nothing, and shows no tenant's data."""
