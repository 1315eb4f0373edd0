"""OPA's own cases through this gateway's policy engine: `make conformance`, or `python -m tools.conformance`.

Each case is answered as OPA answers it, or refused with a rule and a suggestion; another answer is a defect.
"""
