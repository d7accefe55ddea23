"""Training data: pairs, photos, and the inputs that are made of them."""
