"""The tab *Mix & edit*: faces, their styles and their sliders."""
