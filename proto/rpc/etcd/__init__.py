"""etcd's published messages and their generated stubs; see README.md here."""
