"""Networks that training and evaluation look through."""
