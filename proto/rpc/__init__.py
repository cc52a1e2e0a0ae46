"""Messages between our own processes, and etcd's: .proto files with their generated stubs beside
them.
"""
