"""Every rule of the gateway under its constraints: sanitizer, policy, modules. docs/constraints.md says how."""
