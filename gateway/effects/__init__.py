"""What missions may do to the world: file, HTTP and timer effects, performed exactly as they were decided."""
