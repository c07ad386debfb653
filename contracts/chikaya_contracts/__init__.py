"""All that the parts of Chikaya share about each other: topics, messages, states, legal time, references."""
