"""Programs that make what a training needs, and what a starter is made of."""
