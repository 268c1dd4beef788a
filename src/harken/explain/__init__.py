"""Bundle + input → what the model looked at, as data and as pictures."""
