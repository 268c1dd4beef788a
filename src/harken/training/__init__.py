"""Model + batches → bundle; Lightning runs the loop."""
