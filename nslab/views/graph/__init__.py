"""A lab as a picture: one model of it (`model`), and a renderer for each format."""
