"""Models and generators in folders and on the Hub: files, commits, cards."""
