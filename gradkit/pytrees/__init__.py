"""What `gradkit.tree` and `gradkit.tree_util` are made of: structures, paths, errors and the registry, on optree."""
