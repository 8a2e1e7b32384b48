"""What reads captured graphs: passes, which find facts about a graph or make another one of it, and keys."""
