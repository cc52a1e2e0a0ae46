"""Two endpoints, a network between them and virtual time: the core without any shell."""
