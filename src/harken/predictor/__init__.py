"""A bundle brought to life: a model and what turns inputs into numbers, ready to answer."""
