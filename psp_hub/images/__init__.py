"""Pictures as people have them, brought to what an encoder takes, and back."""
