"""What operators see of a gateway: its log of itself, metrics and traces. It decides nothing, and proves nothing."""
