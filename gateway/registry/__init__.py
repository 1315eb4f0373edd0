"""The registry of hooks: publishing, enabling, disabling and rolling back, without a restart."""
