"""What strategies tell about each other: the edge of each, from its own results and those of its like."""
