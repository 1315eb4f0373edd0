"""Worker processes: started by a zygote, supervised by a pool, spoken to in frames; they know nothing of their work."""
