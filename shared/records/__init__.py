"""The collections of stored documents: the type, the owner and the indexes of each."""
