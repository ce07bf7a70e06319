"""Problems with long delays."""
