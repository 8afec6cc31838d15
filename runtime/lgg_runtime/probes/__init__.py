"""Models of one operator, to tell what a processor is good at."""
