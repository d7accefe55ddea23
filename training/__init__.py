"""Training and evaluation; run from a checkout, no part of the installed package."""
