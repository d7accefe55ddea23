"""The tab *Sketch*: a pad, and a face that follows each stroke."""
