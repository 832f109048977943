"""What each kind of picture file can say about its pixels: one module a kind, and nothing is decoded to find out."""
