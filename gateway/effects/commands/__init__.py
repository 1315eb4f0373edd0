"""The effect command.run: programs that policy data names, with arguments that it declares, confined by the kernel."""
