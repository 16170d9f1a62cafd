"""How the steps of a run are executed: in processes forked from a server that has imported what they need."""
