"""Data sets: which pictures there are, what they show, and on which side of the split they lie."""
