"""The sandbox: modules run as pure functions, each call in a fresh store, under fuel, time and memory."""
